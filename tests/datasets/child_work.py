"""Work for children, which must be able to import it."""

import os
import signal
import time
from pathlib import Path

from crossmodal.errors import MediaError


def work(job: tuple[str, Path]) -> str:
    """Do what the job says; the folder remembers how often it was tried."""
    what, folder = job
    tried = folder / what
    with tried.open("a") as file:
        file.write("x")
    count = len(tried.read_text())
    if what == "damaged":
        raise MediaError("a.wav", "it is damaged")
    if what == "hangs" or (what == "hangs once" and count == 1):
        time.sleep(600)
    if what == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "disk":
        raise OSError(28, "No space left on device")
    if what == "busy" and count < 3:
        return "busy"
    return f"{what} {count}"
