"""Work for child processes, in a module that they can import."""

import os
import signal
import time
from pathlib import Path

from crossmodal.errors import MediaError


def work(job: tuple[str, Path]) -> str:
    """Behave as the job says; a file in the folder counts the tries."""
    what, folder = job
    counter = folder / what
    with counter.open("a") as file:
        file.write("x")
    count = len(counter.read_text())
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


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
