"""A process pool for foreign files: a process that exceeds the time limit is killed."""

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool

from crossmodal.errors import MediaError
from crossmodal.progress import progress_bar

TIME_LIMIT = 120.0  # seconds for one file; a whole clip takes less than one
_TRIES = 2  # after a crash or timeout, which may be due to the machine (memory, suspend) and not the file
_JOBS_OF_A_CHILD = 250  # then it is replaced: decoders fragment memory, some 50 kB per video
_AHEAD = 4  # queued jobs per process; more would only use memory

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Reason for a failed job.

    Args:
        reason: The message for the user.
        lasting: True if the file is the cause, so that a retry would fail as well.
    """

    reason: str
    lasting: bool


def map_in_processes(
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    *,
    description: str,
    num_processes: int | None = None,
    time_limit: float | None = None,
    again: Callable[[Result], bool] = lambda result: False,
) -> Generator[tuple[Job, Result | Failure], None, None]:
    """Run jobs in child processes, with a progress bar.

    Processes are started with the spawn method: a script that calls this needs ``if __name__ == "__main__":``. A
    process that crashes, or is killed at the time limit, affects only its own job.

    Args:
        work: A function of a module. An exception other than MediaError stops all jobs.
        jobs: The arguments of `work`.
        description: The label of the progress bar.
        num_processes: Number of processes; default one per core.
        time_limit: Seconds for one job; default `TIME_LIMIT`.
        again: Returns True for a result whose job must be repeated after others.

    Yields:
        Each job with its result or failure, in order of completion.
    """
    queue = deque((job, _TRIES) for job in jobs)
    if not queue:
        return
    num_processes = min(num_processes or os.cpu_count() or 1, len(queue))
    limit = TIME_LIMIT if time_limit is None else time_limit
    # spawn, not fork: the parent's threads (torch, rich) would leave locks held in a forked child.
    context = multiprocessing.get_context("spawn")
    with progress_bar() as progress:
        bar = progress.add_task(description, total=len(queue))
        while queue:  # once, unless a pool breaks
            with ProcessPool(max_workers=num_processes, max_tasks=_JOBS_OF_A_CHILD, context=context) as pool:
                try:
                    for ended in _work_off(queue, pool, work, num_processes, limit, again):
                        progress.advance(bar)
                        yield ended
                except BaseException:
                    pool.stop()  # when the user stops the run, do not wait for the rest
                    raise


def _work_off(
    queue: deque[tuple[Job, int]],
    pool: ProcessPool,
    work: Callable[[Job], Result],
    num_processes: int,
    limit: float,
    again: Callable[[Result], bool],
) -> Iterator[tuple[Job, Result | Failure]]:
    """Run the jobs of the queue; if the pool breaks, unfinished jobs are queued again."""
    running: dict[Future[Result], tuple[Job, int]] = {}
    try:
        while queue or running:
            while queue and len(running) < _AHEAD * num_processes:
                running[pool.schedule(work, args=(queue[0][0],), timeout=limit)] = queue[0]
                queue.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome, (job, tries) = _outcome(future, limit), running.pop(future)
                if isinstance(outcome, Failure):
                    if not outcome.lasting and tries > 1:
                        queue.append((job, tries - 1))
                        continue
                elif again(outcome):
                    queue.append((job, tries))
                    time.sleep(0.05)  # gives the awaited process time
                    continue
                yield job, outcome
    except RuntimeError:
        if pool.active:
            raise
        # A process died before pebble recorded its job, which was one of the first that were scheduled.
        pool.stop()
        tried, untouched = list(running.values())[:num_processes], list(running.values())[num_processes:]
        queue.extend([*((job, tries - 1) for job, tries in tried if tries > 1), *untouched])
        yield from ((job, Failure("the decoder crashed on it", lasting=False)) for job, tries in tried if tries == 1)


def _outcome(future: Future[Result], limit: float) -> Result | Failure:
    try:
        return future.result()
    except MediaError as error:
        return Failure(error.reason, lasting=True)
    except FutureTimeoutError:
        return Failure(f"decoding did not end within {limit:.0f} s", lasting=False)
    except ProcessExpired as error:
        return Failure(f"the decoder crashed on it (exit code {error.exitcode})", lasting=False)
