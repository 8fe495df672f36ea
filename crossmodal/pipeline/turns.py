"""Runs side by side on one cache: what several need at once is made by one."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def taking_turns(folder: Path, key: str, what: str) -> Iterator[None]:
    """Let one process at a time do what stands in the block, and the others wait for it.

    The system gives the turn to the next one when a process ends, however it ends.

    Args:
        folder: Where the lock files lie; made if need be.
        key: Of what is made; other keys do not wait.
        what: Is waited for, in a word for the person who does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{key}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{what}: another run makes the same; waiting for its result", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
