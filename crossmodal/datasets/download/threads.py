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

_STOP_TIMEOUT = 1.0  # seconds to wait for threads to stop; those that wait for a server may take longer

T = TypeVar("T")


def run_in_threads(
    work: Callable[[T], None], jobs: Sequence[T], num_threads: int, stop: Callable[[], None]
) -> list[tuple[T, BaseException]]:
    """Run a function for each job in several threads.

    If the caller is interrupted, for example by Ctrl-C, the threads are stopped and the exception is raised. Threads
    are daemons, so that waiting for a server does not delay the end of the process.

    Args:
        work: Function of a job. `StoppedError`, or an error that is not an `Exception`, ends the thread.
        jobs: Jobs in order of execution.
        num_threads: Number of threads.
        stop: Function that makes each running `work` raise `StoppedError` soon.

    Returns:
        Failed jobs with their errors.
    """
    failed: list[tuple[T, BaseException]] = []
    waiting = deque(jobs)
    # Not Thread.join: before Python 3.13, an interrupted join treats the thread as ended.
    ended = [threading.Event() for _ in range(min(num_threads, len(jobs)))]
    try:
        for end in ended:
            threading.Thread(target=_take, args=(waiting, work, failed, end), daemon=True).start()
        for end in ended:
            while not end.wait(0.2):  # on Windows, Ctrl-C cannot interrupt a wait without timeout
                pass
    except BaseException:
        stop()
        deadline = time.monotonic() + _STOP_TIMEOUT
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
    """Progress bar of a file, which also advances the bar of the total.

    Args:
        progress: Progress display.
        name: Name of the file.
        size: Size in bytes, None if unknown.
        whole: Bar of the total, which already includes `here`.
        here: Number of bytes of the file from an earlier run.
    """

    def __init__(
        self, progress: Progress, name: str, size: int | None, whole: "FileBar | None" = None, here: int = 0
    ) -> None:
        self._progress = progress
        self._name = name
        self._whole = whole
        self._lock = threading.Lock()
        self._position = here
        self._task = progress.add_task(name, total=size, completed=here)

    def set_position(self, position: int) -> None:
        """Set the number of bytes that have arrived."""
        self.advance(position - self._position)

    def advance(self, num_bytes: int) -> None:
        """Advance the bars by a number of bytes, which is negative after a restart."""
        with self._lock:
            self._position += num_bytes
            self._progress.update(self._task, completed=self._position)
        if self._whole:
            self._whole.advance(num_bytes)

    def show(self, text: str) -> None:
        """Print a line above the progress bars."""
        self._progress.console.print(f"{self._name}: {text}", markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> "FileBar":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.remove_task(self._task)
