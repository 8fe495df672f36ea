"""Run many jobs in a few processes; a job waits while another one computes a result that it needs."""

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from crossmodal.process_pool import Failure, run_in_processes


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
    done = set(made)

    def is_ready(job: Job, running: Collection[Job]) -> bool:
        return not any((job.makes & other.makes) - done for other in running)

    with closing(run_in_processes(partial(_call, function), jobs, processes, is_ready=is_ready)) as outcomes:
        for job, outcome in outcomes:
            failure = outcome.reason if isinstance(outcome, Failure) else outcome
            done |= job.makes if failure is None else set()
            yield job, failure


def _call(function: Callable[[Any], str | None], job: Job) -> str | None:
    return function(job.argument)
