"""Parallel downloads of archives, each with a progress bar."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from rich.progress import Progress

from crossmodal.datasets.download.http import StoppedError

_TO_LOOK_UP = 1.0  # seconds in which threads look up whether they are stopped; one that waits for a server may not

T = TypeVar("T")


def in_threads(
    work: Callable[[T], None], jobs: Sequence[T], num_threads: int, stop: Callable[[], None]
) -> list[tuple[T, BaseException]]:
    """Run a function for each job in several threads.

    Where the caller is interrupted, as by Ctrl-C, the threads are stopped and the interrupt goes on. They are daemons:
    none that waits for a server holds up the end of the process.

    Args:
        work: Is given a job; `StoppedError` ends the thread, and so does what is no `Exception`.
        jobs: In the order in which they are begun.
        num_threads: How many at a time.
        stop: Makes each running `work` raise `StoppedError` soon.

    Returns:
        The jobs that failed, each with its error.
    """
    failed: list[tuple[T, BaseException]] = []
    waiting = deque(jobs)
    # Not Thread.join: before Python 3.13, one that Ctrl-C interrupts takes the thread for ended.
    ended = [threading.Event() for _ in range(min(num_threads, len(jobs)))]
    try:
        for end in ended:
            threading.Thread(target=_take, args=(waiting, work, failed, end), daemon=True).start()
        for end in ended:
            while not end.wait(0.2):  # without a time, no Ctrl-C gets through on Windows
                pass
    except BaseException:
        stop()
        deadline = time.monotonic() + _TO_LOOK_UP
        for end in ended:
            end.wait(max(0.0, deadline - time.monotonic()))
        raise
    return failed


def _take(
    waiting: deque[T], work: Callable[[T], None], failed: list[tuple[T, BaseException]], end: threading.Event
) -> None:
    """Run jobs until none is left or the work is stopped."""
    with suppress(IndexError, StoppedError):
        while True:
            job = waiting.popleft()
            try:
                work(job)
            except StoppedError:
                raise
            except BaseException as error:
                failed.append((job, error))
                if not isinstance(error, Exception):
                    break
    end.set()


class FileBar:
    """The progress bar of one file, which also advances the total.

    Args:
        progress: Where it is drawn.
        name: Of the file.
        size: In bytes; None where it is not known.
        whole: The bar of all, which moves along; it must stand at what is `here` of this file.
        here: Bytes of the file that were there before.
    """

    def __init__(
        self, progress: Progress, name: str, size: int | None, whole: "FileBar | None" = None, here: int = 0
    ) -> None:
        self._progress = progress
        self._name = name
        self._whole = whole
        self._turn = threading.Lock()
        self._position = here
        self._task = progress.add_task(name, total=size, completed=here)

    def at(self, position: int) -> None:
        """Set the number of bytes that have arrived."""
        self.advance(position - self._position)

    def advance(self, num_bytes: int) -> None:
        """Advance the bars by a number of bytes, which is negative after a restart."""
        with self._turn:
            self._position += num_bytes
            self._progress.update(self._task, completed=self._position)
        if self._whole:
            self._whole.advance(num_bytes)

    def says(self, text: str) -> None:
        """Print a line above the progress bars."""
        self._progress.console.print(f"{self._name}: {text}", markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> "FileBar":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.remove_task(self._task)
