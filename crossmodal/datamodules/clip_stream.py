"""Loaders of a stream. Import this module lazily, because it needs litdata."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from litdata import StreamingDataLoader, StreamingDataset

from crossmodal.datamodules.clip_dataset import SINGLE_PROCESS, Shard, collate_clips
from crossmodal.datasets.clip import Split
from crossmodal.datasets.stream.reader import divide, part_of, stream_cache
from crossmodal.errors import ConfigError


class ClipStream(StreamingDataset):
    """A split of a stream as litdata's dataset, divided evenly among the Trainer's processes.

    On a network file system, or a path that looks like one, litdata gives whole chunks to each process, and none to
    some of them.

    Args:
        stream: Folder or URL.
        split: Name of the split.
        shard: Part of the clips that this process reads.
        shuffle_seed: Seed to shuffle the clips in each epoch; each process then has the same number of full batches,
            and other clips are dropped. With None, every clip is in one process once, in the order of the stream.
    """

    posix_fast: Any  # litdata's settings for reading a local folder

    def __init__(
        self, stream: str, split: Split, shard: Shard = SINGLE_PROCESS, shuffle_seed: int | None = None
    ) -> None:
        is_shuffled = shuffle_seed is not None
        super().__init__(
            part_of(stream, split),
            cache_dir=str(stream_cache()),
            shuffle=is_shuffled,
            seed=shuffle_seed or 0,
            transform=_as_tensors,
        )
        self.set_drop_last(is_shuffled)  # as an argument of the constructor it causes a warning
        divide(self, shard.rank, shard.world_size)
        if self.posix_fast is not None:
            self.posix_fast = replace(self.posix_fast, kind="posix")


class ClipStreamLoader(StreamingDataLoader):
    """Loader of the batches of a split of a stream, collated by `collate_clips`.

    Its `state_dict` has the epoch and the position in it, and is the same in all processes.

    Args:
        stream: Folder or URL.
        split: Name of the split.
        num_clips: Number of clips in the split.
        batch_size: Number of clips per batch, over all processes.
        num_workers: Number of reading processes for each training process.
        shard: Part of the clips that this process reads.
        shuffle_seed: See `ClipStream`.

    Raises:
        ConfigError: If the clips cannot be divided among the processes.
    """

    restore: bool  # litdata's flag for resuming an epoch

    def __init__(
        self,
        stream: str,
        split: Split,
        num_clips: int,
        batch_size: int,
        num_workers: int = 0,
        shard: Shard = SINGLE_PROCESS,
        shuffle_seed: int | None = None,
    ) -> None:
        process_batch_size = _process_batch_size(num_clips, batch_size, shard, is_shuffled=shuffle_seed is not None)
        super().__init__(
            ClipStream(stream, split, shard, shuffle_seed),
            batch_size=process_batch_size,
            num_workers=num_workers,
            collate_fn=collate_clips,
            pin_memory=torch.cuda.is_available(),
        )
        self._is_resuming = False
        self._arguments: dict[str, Any] = {
            "stream": stream,
            "split": split,
            "num_clips": num_clips,
            "batch_size": batch_size,
            "num_workers": num_workers,
            "shard": shard,
        }

    def load_state_dict(self, obj: dict[str, Any]) -> None:
        """Resume from the state of a loader of the same stream, even if the stream or the cache was moved."""
        locations = {
            "input_dir_path": self.dataset.input_dir.path,
            "input_dir_url": self.dataset.input_dir.url,
            "cache_dir_path": self.dataset.cache_dir.path,
        }
        super().load_state_dict(obj | {"dataset": obj["dataset"] | locations})
        self._is_resuming = True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over an epoch, or over the rest of the epoch that `load_state_dict` restored."""
        # litdata would also resume in the next epoch, because Lightning stops iterating after the last batch.
        self.restore, self._is_resuming = self.restore and self._is_resuming, False
        yield from super().__iter__()

    def single_pass(self) -> "ClipStreamLoader":
        """Return a loader that reads each clip once, in order, in one of the processes."""
        return ClipStreamLoader(**self._arguments)


def _process_batch_size(num_clips: int, batch_size: int, shard: Shard, is_shuffled: bool) -> int:
    """Return the number of clips per batch of one process, small enough for at least one batch in every process."""
    if num_clips < shard.world_size:
        raise ConfigError(f"{num_clips} clips are too few for {shard.world_size} processes.")
    if is_shuffled and batch_size % shard.world_size:
        raise ConfigError(
            f"batch_size {batch_size} is not divisible by {shard.world_size} processes. Use a multiple, such as "
            f"{batch_size + -batch_size % shard.world_size}."
        )
    return max(1, min(batch_size, num_clips) // shard.world_size)


def _as_tensors(item: dict[str, Any]) -> dict[str, Any]:
    # Copies, because litdata's arrays are read-only views of a chunk that may be deleted.
    arrays = {name: torch.tensor(item[name]) for name in ("waveform", "faces")}
    return {"clip": item["clip"], "label": item["label"], **arrays}
