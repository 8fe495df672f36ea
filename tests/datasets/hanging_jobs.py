"""Jobs whose decoder hangs or dies, in a module that child processes can import."""

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
