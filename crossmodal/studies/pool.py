"""Many jobs in a few processes. Jobs that would make the same thing wait for the one that makes it."""

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
    """One call in a process of the pool.

    Args:
        name: What it is called.
        argument: What the function is given; it travels by pickle.
        makes: Names of the things that it makes where nobody has made them yet.
    """

    name: str
    argument: Any
    makes: frozenset[str] = frozenset()


def run_jobs(
    function: Callable[[Any], str | None], jobs: Sequence[Job], processes: int, made: Iterable[str] = ()
) -> Generator[tuple[Job, str | None], None, None]:
    """Run jobs in the order given, but none that makes what another one is just making.

    Close the iterator (`contextlib.closing`) and no process is left alive, whatever it was doing; where this process is
    killed, they end by themselves.

    Args:
        function: Importable by its name; returns None where all went well, else what went wrong.
        jobs: What to call it with.
        processes: How many jobs run at a time.
        made: Names of what is made already.

    Yields:
        Each job as it ends, with what went wrong.
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
        pool.stop()  # asks each process to end, and kills one that does not hear
        pool.join()


def startable(waiting: Iterable[Job], running: Iterable[Job], made: Collection[str], free: int) -> list[Job]:
    """The first jobs, at most `free`, that make nothing which a running job or one before them makes."""
    being_made = {thing for job in running for thing in job.makes if thing not in made}
    chosen: list[Job] = []
    for job in waiting:
        missing = {thing for thing in job.makes if thing not in made}
        if len(chosen) < free and not missing & being_made:
            chosen.append(job)
            being_made |= missing
    return chosen


def _failure(future: Future[str | None]) -> str | None:
    try:
        return future.result()
    except ProcessExpired as error:
        killed = ", as one is that takes too much memory" if error.exitcode == -9 else ""
        return f"its process was ended with exit code {error.exitcode}{killed}"
    except Exception as error:  # what the function did not catch
        return f"{type(error).__name__}: {error}"


def _end_with_parent() -> None:
    """In a process of the pool: do not live on where the one that waits for it has been killed."""
    parent = parent_process()
    assert parent is not None, "this is not called in the process that has the pool"

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
