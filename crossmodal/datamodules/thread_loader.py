"""Data loader whose workers are threads."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from crossmodal.batch import Batch

_PREFETCH_FACTOR = 2  # batches per thread, torch's default for workers


class ThreadLoader(DataLoader[Any]):
    """A `torch.utils.data.DataLoader` of a `ClipDataset` that reads ahead in threads instead of processes.

    Reading a clip is a memory copy, which releases Python's lock. Passing a batch from another process needs one more
    copy into newly allocated memory, which takes several times as long as reading. Threads also start immediately and
    share open memory maps. Without threads, batches are read on demand.
    """

    def __init__(self, *arguments: Any, num_threads: int = 0, **kwargs: Any) -> None:
        super().__init__(*arguments, **kwargs)
        self.num_threads = num_threads

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the batches in the order of the sampler."""
        batches = self.batch_sampler or ()
        if not self.num_threads:
            yield from map(self._read, batches)
            return
        pending: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(self.num_threads, thread_name_prefix="clips") as pool:
            try:
                for indices in batches:
                    pending.append(pool.submit(self._read, indices))
                    if len(pending) > _PREFETCH_FACTOR * self.num_threads:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:  # if iteration stops early
                for batch in pending:
                    batch.cancel()

    def single_pass(self) -> "ThreadLoader":
        """Return a loader that yields each clip once, in order, in one of the processes that share the sampler."""
        first, step = getattr(self.sampler, "rank", 0), getattr(self.sampler, "num_replicas", 1)
        part = range(first, len(self.dataset), step)  # type: ignore[arg-type]
        return ThreadLoader(
            self.dataset, self.batch_size or 1, sampler=part, collate_fn=self.collate_fn, num_threads=self.num_threads
        )

    def _read(self, indices: list[int]) -> Batch:
        batch: Batch = self.collate_fn([self.dataset.view(index) for index in indices])  # type: ignore[attr-defined]
        if not self.pin_memory:
            return batch
        return {name: value.pin_memory() if isinstance(value, Tensor) else value for name, value in batch.items()}
