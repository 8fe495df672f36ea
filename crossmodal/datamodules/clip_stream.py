"""Loaders over a stream; to be imported where one is read, for this needs litdata."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from litdata import StreamingDataLoader, StreamingDataset

from crossmodal.datamodules.clip_dataset import ALONE, Place, collate_clips
from crossmodal.datasets.clip import Split
from crossmodal.datasets.stream.reader import divide, part_of, stream_cache
from crossmodal.errors import ConfigError


class ClipStream(StreamingDataset):
    """A split of a stream: litdata's dataset, divided among processes by what the Trainer says, and always evenly.

    On a network file system, or what is called like one, litdata by itself would give whole chunks to each process, and
    to some of them none.

    Args:
        stream: A folder or an URL.
        split: Which of its parts.
        place: Which of the processes this one is.
        shuffle_seed: With a seed the clips come in a new order each epoch, and each process has as many full batches;
            the rest is left out. Without, in the order of the stream, and every clip once in one of the processes.
    """

    posix_fast: Any  # litdata's: how a folder is read where it lies

    def __init__(self, stream: str, split: Split, place: Place = ALONE, shuffle_seed: int | None = None) -> None:
        is_shuffled = shuffle_seed is not None
        super().__init__(
            part_of(stream, split),
            cache_dir=str(stream_cache()),
            shuffle=is_shuffled,
            seed=shuffle_seed or 0,
            transform=_as_tensors,
        )
        self.set_drop_last(is_shuffled)  # the constructor would warn
        divide(self, place.rank, place.processes)
        if self.posix_fast is not None:
            self.posix_fast = replace(self.posix_fast, kind="posix")


class ClipStreamLoader(StreamingDataLoader):
    """Batches of a split of a stream, as `collate_clips` makes them.

    Its `state_dict` says where in which epoch it is, and is the same in all processes.

    Args:
        stream: A folder or an URL.
        split: Which of its parts.
        num_clips: How many clips it has.
        batch_size: Clips in a batch, of all processes together.
        num_workers: Processes that read, for each of those that train.
        place: Which of the processes this one is.
        shuffle_seed: See `ClipStream`.

    Raises:
        ConfigError: The clips cannot be divided among the processes.
    """

    restore: bool  # litdata's: whether an epoch is gone on with

    def __init__(
        self,
        stream: str,
        split: Split,
        num_clips: int,
        batch_size: int,
        num_workers: int = 0,
        place: Place = ALONE,
        shuffle_seed: int | None = None,
    ) -> None:
        own_batch_size = _own_batch_size(num_clips, batch_size, place, is_shuffled=shuffle_seed is not None)
        super().__init__(
            ClipStream(stream, split, place, shuffle_seed),
            batch_size=own_batch_size,
            num_workers=num_workers,
            collate_fn=collate_clips,
            pin_memory=torch.cuda.is_available(),
        )
        self._goes_on = False
        self._arguments: dict[str, Any] = {
            "stream": stream,
            "split": split,
            "num_clips": num_clips,
            "batch_size": batch_size,
            "num_workers": num_workers,
            "place": place,
        }

    def load_state_dict(self, obj: dict[str, Any]) -> None:
        """Go on where a loader of the same stream was, wherever the stream and the cache are now."""
        here = {
            "input_dir_path": self.dataset.input_dir.path,
            "input_dir_url": self.dataset.input_dir.url,
            "cache_dir_path": self.dataset.cache_dir.path,
        }
        super().load_state_dict(obj | {"dataset": obj["dataset"] | here})
        self._goes_on = True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """An epoch, or the rest of the one that `load_state_dict` was told of."""
        # litdata would begin there in the next epoch too, for Lightning does not ask for more than the last batch.
        self.restore, self._goes_on = self.restore and self._goes_on, False
        yield from super().__iter__()

    def once_each(self) -> "ClipStreamLoader":
        """Another loader of the same clips: in order, each of them once in one of the processes."""
        return ClipStreamLoader(**self._arguments)


def _own_batch_size(num_clips: int, batch_size: int, place: Place, is_shuffled: bool) -> int:
    """Clips in a batch of one process, so few that every process has a batch at least."""
    if num_clips < place.processes:
        raise ConfigError(f"{num_clips} clips are too few for {place.processes} processes.")
    if is_shuffled and batch_size % place.processes:
        raise ConfigError(
            f"A batch of {batch_size} clips cannot be divided evenly among {place.processes} processes: choose a "
            f"batch_size that can, such as {batch_size + -batch_size % place.processes}."
        )
    return max(1, min(batch_size, num_clips) // place.processes)


def _as_tensors(item: dict[str, Any]) -> dict[str, Any]:
    # Copies: litdata's arrays are read-only, and lie in a chunk that may go.
    arrays = {name: torch.tensor(item[name]) for name in ("waveform", "faces")}
    return {"clip": item["clip"], "label": item["label"], **arrays}
