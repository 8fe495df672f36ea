"""A loader whose workers are threads."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

Batch = dict[str, Any]
_AHEAD = 2  # batches for each thread, as torch's workers have


class ThreadLoader(DataLoader[Any]):
    """A `torch.utils.data.DataLoader` over a `ClipDataset` that reads ahead in threads, not in other processes.

    To read a clip is to copy memory, for which Python lets go of its lock. To hand a batch over from another process is
    to copy it again, into memory that the system has to provide anew each time: several times what reading takes. And
    threads start at once, and share what is open.

    Args:
        arguments: Of a `DataLoader` without workers.
        num_threads: How many read ahead; 0 reads when a batch is asked for.
        more: Further arguments of a `DataLoader`.
    """

    def __init__(self, *arguments: Any, num_threads: int = 0, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.num_threads = num_threads

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """The batches in the order of the sampler, whichever thread is done first."""
        batches = self.batch_sampler or ()
        if not self.num_threads:
            yield from map(self._read, batches)
            return
        reading: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(self.num_threads, thread_name_prefix="clips") as pool:
            try:
                for indices in batches:
                    reading.append(pool.submit(self._read, indices))
                    if len(reading) > _AHEAD * self.num_threads:
                        yield reading.popleft().result()
                while reading:
                    yield reading.popleft().result()
            finally:  # the rest nobody wants
                for batch in reading:
                    batch.cancel()

    def _read(self, indices: list[int]) -> Batch:
        batch: Batch = self.collate_fn([self.dataset.view(index) for index in indices])  # type: ignore[attr-defined]
        if not self.pin_memory:
            return batch
        return {name: value.pin_memory() if isinstance(value, Tensor) else value for name, value in batch.items()}
