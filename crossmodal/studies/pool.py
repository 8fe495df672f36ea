"""Run many jobs in a few processes; a job waits while another one computes a result that it needs."""

import os
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from typing import Any

from pebble import ProcessExpired, ProcessPool


@dataclass(frozen=True)
class Job:
    """One call in a process of the pool; `makes` are keys of shared results that it computes if they are missing."""

    name: str
    argument: Any
    makes: frozenset[str] = frozenset()


def run_jobs(
    function: Callable[[Any], str | None], jobs: Sequence[Job], processes: int, made: Iterable[str] = ()
) -> Generator[tuple[Job, str | None], None, None]:
    """Run jobs in the given order; delay a job while a running job computes one of its results.

    Closing the iterator (`contextlib.closing`) ends all processes. They also end if this process is killed.

    Args:
        function: Importable function of a job's argument; returns None on success, or a reason for the failure.
        jobs: Jobs to run.
        processes: Number of jobs that run at a time.
        made: Keys of the shared results that exist already.

    Yields:
        Each finished job, with the reason of its failure or None.
    """
    waiting, done = list(jobs), set(made)
    running: dict[Future[str | None], Job] = {}
    # spawn, not fork: the parent's threads (torch, rich) would leave locks held in a forked child.
    context = get_context("spawn")
    pool = ProcessPool(max(1, min(processes, len(jobs))), initializer=_end_with_parent, context=context)
    try:
        while waiting or running:
            for job in startable(waiting, running.values(), done, processes - len(running)):
                waiting.remove(job)
                running[pool.schedule(function, args=(job.argument,))] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, failure = running.pop(future), _failure(future)
                done |= job.makes if failure is None else set()
                yield job, failure
    finally:
        pool.stop()  # terminates each process, and kills those that do not end
        pool.join()


def startable(waiting: Iterable[Job], running: Iterable[Job], made: Collection[str], free: int) -> list[Job]:
    """Return the first jobs, at most `free`, that share no missing result with running jobs or with each other."""
    in_progress = {key for job in running for key in job.makes if key not in made}
    chosen: list[Job] = []
    for job in waiting:
        missing = {key for key in job.makes if key not in made}
        if len(chosen) < free and not missing & in_progress:
            chosen.append(job)
            in_progress |= missing
    return chosen


def _failure(future: Future[str | None]) -> str | None:
    try:
        return future.result()
    except ProcessExpired as error:
        hint = " (killed, perhaps for lack of memory)" if error.exitcode == -9 else ""
        return f"the process ended with exit code {error.exitcode}{hint}"
    except Exception as error:  # not caught by the function
        return f"{type(error).__name__}: {error}"


def _end_with_parent() -> None:
    """End this process of the pool when its parent is killed."""
    parent = parent_process()
    assert parent is not None, "only called in processes of the pool"

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
