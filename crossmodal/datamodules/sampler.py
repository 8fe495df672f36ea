"""Samplers that divide clips among processes."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data.distributed import DistributedSampler

from crossmodal.datamodules.clip_dataset import ClipDataset
from crossmodal.errors import ConfigError


class Shard(NamedTuple):
    """The part of the clips that a process reads."""

    rank: int = 0
    world_size: int = 1


SINGLE_PROCESS = Shard()


class EpochShuffle(DistributedSampler[int]):
    """Shuffle the clips in each epoch, depending only on seed and epoch, and divide each batch among the processes.

    So student and control train on the same batches, a resumed run has the same order as an uninterrupted one, and a
    step does not depend on the number of processes. The last batch is dropped if it is smaller, unless it is the only
    one. Lightning calls `set_epoch`, and does not replace a `DistributedSampler`.
    """

    def __init__(self, dataset: ClipDataset, seed: int, batch_size: int, shard: Shard = SINGLE_PROCESS) -> None:
        super().__init__(dataset, num_replicas=shard.world_size, rank=shard.rank, seed=seed)
        if batch_size % shard.world_size:
            raise ConfigError(
                f"data.batch_size {batch_size} is not divisible by {shard.world_size} processes. Use a multiple, such "
                f"as {batch_size + -batch_size % shard.world_size}."
            )
        self._batch_size = min(batch_size, len(dataset) // shard.world_size * shard.world_size)
        if self._batch_size == 0:
            raise ConfigError(f"{len(dataset)} training clips are too few for {shard.world_size} processes.")
        self._num_batches = len(dataset) // self._batch_size

    def __len__(self) -> int:
        return self._num_batches * self._batch_size // self.num_replicas

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.dataset), generator=generator)  # type: ignore[arg-type]
        batches = order[: self._num_batches * self._batch_size].view(self._num_batches, self.num_replicas, -1)
        return iter(batches[:, self.rank].flatten().tolist())


class UnpaddedDistributedSampler(DistributedSampler[int]):
    """Yield every clip once in one of the processes; `DistributedSampler` repeats clips to make the shares equal."""

    def __init__(self, dataset: ClipDataset, shard: Shard = SINGLE_PROCESS) -> None:
        super().__init__(dataset, num_replicas=shard.world_size, rank=shard.rank, shuffle=False)
        self._indices = range(shard.rank, len(dataset), shard.world_size)
        if 0 < len(dataset) < shard.world_size:
            raise ConfigError(f"{len(dataset)} clips are too few for {shard.world_size} processes.")

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)
