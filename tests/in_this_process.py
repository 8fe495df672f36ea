"""Decoding without child processes: starting them takes longer than decoding a tiny corpus."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crossmodal.errors import MediaError
from crossmodal.process_pool import Failure


def in_this_process(
    work: Callable[[Any], Any], jobs: Iterable[Any], *, again: Callable[[Any], bool] = lambda result: False, **how: Any
) -> Iterator[tuple[Any, Any]]:
    """Do the jobs of `crossmodal.process_pool.map_in_processes` in this process."""
    queue = deque(jobs)
    while queue:
        job = queue.popleft()
        try:
            outcome = work(job)
        except MediaError as error:
            outcome = Failure(error.reason, lasting=True)
        if again(outcome):
            queue.append(job)
            time.sleep(0.05)  # another process or thread makes the same
        else:
            yield job, outcome
