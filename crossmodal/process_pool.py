"""Process pool in which a job that crashes, or exceeds the time limit and is killed, does not affect the others."""

import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool

from crossmodal.errors import MediaError, ProcessStartError
from crossmodal.progress import progress_bar

TIME_LIMIT = 120.0  # seconds for one foreign file; a whole clip takes less than one
_JOBS_OF_A_PROCESS = 250  # then it is replaced: decoders fragment memory, some 50 kB per video
# spawn, not fork: the parent's threads (torch, rich) would leave locks held in a forked child.
_SPAWN = multiprocessing.get_context("spawn")

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Reason for a failed job."""

    reason: str  # the message for the user
    lasting: bool  # True if the job is the cause, so that a retry would fail as well


def map_in_processes(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    description: str,
    num_processes: int | None = None,
    time_limit: float | None = None,
    again: Callable[[Result], bool] = lambda result: False,
) -> Iterator[tuple[Job, Result | Failure]]:
    """Process foreign files as in `run_in_processes`, with a progress bar; the time limit is `TIME_LIMIT` by default.

    A job that crashes or exceeds the time limit is tried twice: the machine may be the cause (memory, suspend). An
    exception other than MediaError stops all jobs.
    """
    if not jobs:
        return
    outcomes = run_in_processes(
        work,
        jobs,
        num_processes or os.cpu_count() or 1,
        time_limit=time_limit or TIME_LIMIT,
        tries=2,
        queued=4,  # more would only use memory
        catch=MediaError,
        again=again,
    )
    with progress_bar() as progress:
        yield from progress.track(outcomes, total=len(jobs), description=description)


def run_in_processes(
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    num_processes: int,
    *,
    time_limit: float | None = None,
    tries: int = 1,
    queued: int = 1,
    catch: type[Exception] = Exception,
    again: Callable[[Result], bool] = lambda result: False,
) -> Generator[tuple[Job, Result | Failure], None, None]:
    """Run jobs in child processes; yield each with its result or failure, in order of completion.

    Processes are started with the spawn method: a script that calls this needs ``if __name__ == "__main__":``, or
    ProcessStartError is raised. Closing the iterator ends all processes. They also end if this process is killed.

    Args:
        work: A function of a module.
        jobs: The arguments of `work`, which are pickled.
        num_processes: Largest number of processes.
        time_limit: Seconds for one job; None for no limit.
        tries: Number of tries for a job whose process crashes or exceeds the limit.
        queued: Number of running and waiting jobs per process.
        catch: Type of the exceptions of `work` that are failures; others stop all jobs.
        again: Returns True for a result whose job must be repeated after others.
    """
    queue = deque((job, tries) for job in jobs)
    if not queue:
        return
    _check_start()
    num_processes = max(1, min(num_processes, len(queue)))
    while queue:  # once, unless a pool breaks
        pool = ProcessPool(num_processes, _JOBS_OF_A_PROCESS, initializer=_end_with_parent, context=_SPAWN)
        running: dict[Future[Result], tuple[Job, int]] = {}
        try:
            while queue or running:
                while queue and len(running) < queued * num_processes:
                    running[pool.schedule(work, args=(queue[0][0],), timeout=time_limit)] = queue[0]
                    queue.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome, (job, left) = _outcome(future, time_limit, catch), running.pop(future)
                    if not isinstance(outcome, Failure) and again(outcome):
                        queue.append((job, left))
                        time.sleep(0.05)  # gives the awaited process time
                    elif isinstance(outcome, Failure) and not outcome.lasting and left > 1:
                        queue.append((job, left - 1))
                    else:
                        yield job, outcome
        except RuntimeError:
            if pool.active:
                raise
            # A process died before pebble recorded its job, which was one of the first that were scheduled.
            tried, untouched = list(running.values())[:num_processes], list(running.values())[num_processes:]
            queue.extend([*((job, left - 1) for job, left in tried if left > 1), *untouched])
            yield from ((job, Failure("its process crashed", lasting=False)) for job, left in tried if left == 1)
        finally:
            pool.stop()  # terminates each process, and kills those that do not end
            pool.join()


def _outcome(future: Future[Result], time_limit: float | None, catch: type[Exception]) -> Result | Failure:
    try:
        return future.result()
    except FutureTimeoutError:
        return Failure(f"it did not end within {time_limit:.0f} s", lasting=False)
    except ProcessExpired as error:
        hint = ", perhaps for lack of memory" if error.exitcode == -9 else ""
        return Failure(f"its process crashed (exit code {error.exitcode}{hint})", lasting=False)
    except catch as error:
        return Failure(getattr(error, "reason", None) or f"{type(error).__name__}: {error}", lasting=True)


@cache
def _check_start() -> None:
    """Start one process, because a pool would replace processes that do not start forever."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a child that runs the script of its parent
        sys.exit(1)
    process = _SPAWN.Process(target=_do_nothing)
    process.start()
    process.join()
    if process.exitcode:
        raise ProcessStartError(
            "Child processes cannot start. They import the running script, so it must be a file that starts its work "
            'below a guard:\n\nif __name__ == "__main__":\n    main()'
        )


def _do_nothing() -> None:
    """Run in the first process."""


def _end_with_parent() -> None:
    """End this process of the pool when its parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only called in processes of the pool"

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
