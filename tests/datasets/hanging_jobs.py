"""Files whose decoder hangs or dies, as `_make_all` meets them: they must be importable by its children."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

from crossmodal.datasets.cache import _Job


class HangingJob(_Job):
    @property
    def source(self) -> Path:
        if multiprocessing.parent_process() is not None:
            time.sleep(600)
        return super().source


class CrashingJob(_Job):
    @property
    def source(self) -> Path:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().source
