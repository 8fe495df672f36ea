"""Clips as tensors: what a training loop reads, one memory map at a time."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from crossmodal.datamodules.thread_loader import ThreadLoader
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.stored_array import check_array
from crossmodal.errors import ConfigError
from crossmodal.transforms import pad_features

UNLABELLED = -1


class ClipDataset(Dataset[dict[str, Any]]):
    """Clips with what of them is asked for; nothing but memory maps is held between two reads.

    Args:
        clips: In the order of the indices.
        labels: The class names; a clip's label is its name's position, -1 where it has none.
        waveforms: The array file of each clip's waveform, where waveforms are wanted.
        faces: The array file of each clip's face crops, where crops are wanted.
        tensors: Tensors stored by clip: face embeddings, teacher outputs.
        features: The array file of each clip's stored features, where those are wanted.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        labels: Sequence[str],
        waveforms: Mapping[str, Path] | None = None,
        faces: Mapping[str, Path] | None = None,
        tensors: ClipTensors | None = None,
        features: Mapping[str, Path] | None = None,
    ) -> None:
        self.clips = list(clips)
        self._label = {name: index for index, name in enumerate(labels)}
        self._arrays = {"waveform": waveforms, "faces": faces, "features": features}
        self._tensors = tensors

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        views = self.view(index)
        return {name: torch.tensor(value) if isinstance(value, np.ndarray) else value for name, value in views.items()}

    def view(self, index: int) -> dict[str, Any]:
        """An item with arrays in place of tensors, memory maps among them, which are to be copied and not changed."""
        clip = self.clips[index]
        item: dict[str, Any] = {
            "clip": clip.clip,
            "label": UNLABELLED if clip.label is None else self._label[clip.label],
        }
        for name, paths in self._arrays.items():
            if paths is not None:
                item[name] = _open(paths[clip.clip])
        if self._tensors is not None:
            item |= self._tensors[clip.clip]
        return item


def collate_clips(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make the batch of the items: waveforms and features padded with zeros to the longest, everything else stacked.

    Args:
        items: Each with tensors on the CPU, or arrays; all are copied.

    Returns:
        ``clip``: names; ``label``: (B,) int64; and, of what the items hold, ``waveform``: (B, 1, T) float32 with
        ``waveform_length``: (B,) int64; ``features``: (B, F, audio frames) float32 with ``feature_length``: (B,) int64;
        ``faces``: (B, N, 3, H, W) uint8; ``face_embeddings``: (B, N, D) float32;
        ``teacher_embedding``: (B, E) float32; ``teacher_logits``: (B, K) float32.
    """
    batch: dict[str, Any] = {
        "clip": [item["clip"] for item in items],
        "label": torch.tensor([item["label"] for item in items]),
    }
    for name in items[0].keys() - batch.keys():
        values = [item[name] for item in items]
        if name == "waveform":
            batch["waveform_length"] = torch.tensor([len(waveform) for waveform in values])
            batch["waveform"] = _pad(values).unsqueeze(1)
        elif name == "features":
            batch["features"], batch["feature_length"] = pad_features(
                [torch.from_numpy(np.asarray(value).copy()) for value in values]
            )
        else:
            batch[name] = _stack(values)
    return batch


# Torch's own memory begins at a multiple of 64 bytes, and numpy's anywhere: the same sums over it would differ in the
# last bit from one process to the next.


def _pad(waveforms: Sequence[NDArray[np.float32] | Tensor]) -> Tensor:
    """Each copied once, beside zeros: (B, T)."""
    rows = torch.zeros(len(waveforms), max(map(len, waveforms)))
    for row, waveform in zip(rows.numpy(), waveforms, strict=True):
        row[: len(waveform)] = waveform
    return rows


def _stack(values: Sequence[NDArray[np.generic] | Tensor]) -> Tensor:
    """Each copied once: (B, ...)."""
    first = np.asarray(values[0])
    stacked = torch.empty((len(values), *first.shape), dtype=torch.from_numpy(np.empty(0, first.dtype)).dtype)
    np.stack([np.asarray(value) for value in values], out=stacked.numpy())
    return stacked


class Place(NamedTuple):
    """Which of the processes that divide the clips among them this one is.

    Args:
        rank: Its number, counted from 0.
        processes: How many there are.
    """

    rank: int = 0
    processes: int = 1


ALONE = Place()


class EpochShuffle(DistributedSampler[int]):
    """A new order each epoch that depends on the seed and the epoch only; of each batch, a part for each process.

    So a student and its control meet the same batches, a run that was stopped goes on with the order that it would
    have had, and several processes see in a step what one would. The last batch is left out if it is smaller, unless
    there is no other. Lightning calls `set_epoch`, and leaves a `DistributedSampler` as it is.

    Args:
        dataset: The clips.
        seed: Of the order.
        batch_size: Clips in a batch, of all processes together.
        place: Which process this is.

    Raises:
        ConfigError: The clips of a batch cannot be divided evenly.
    """

    def __init__(self, dataset: ClipDataset, seed: int, batch_size: int, place: Place = ALONE) -> None:
        super().__init__(dataset, num_replicas=place.processes, rank=place.rank, seed=seed)
        if batch_size % place.processes:
            raise ConfigError(
                f"A batch of {batch_size} clips cannot be divided evenly among {place.processes} processes: choose a "
                f"data.batch_size that can, such as {batch_size + -batch_size % place.processes}."
            )
        self._batch_size = min(batch_size, len(dataset) // place.processes * place.processes)
        if self._batch_size == 0:
            raise ConfigError(f"{len(dataset)} training clips are too few for {place.processes} processes.")
        self._num_batches = len(dataset) // self._batch_size
        self._done = (0, 0)

    def __len__(self) -> int:
        return self._num_batches * self._batch_size // self.num_replicas

    def go_on(self, epoch: int, batches: int) -> None:
        """Begin with this epoch, of which so many batches are done; `len` stays that of a whole epoch."""
        self._done = (epoch, batches)
        self.set_epoch(epoch)  # here, for workers read ahead before Lightning says which epoch it is

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.dataset), generator=generator)  # type: ignore[arg-type]
        batches = order[: self._num_batches * self._batch_size].view(self._num_batches, self.num_replicas, -1)
        epoch, done = self._done
        return iter(batches[done if self.epoch == epoch else 0 :, self.rank].flatten().tolist())


class OnceEach(DistributedSampler[int]):
    """Every clip once in one of the processes; `DistributedSampler` makes their numbers even by counting some twice.

    Args:
        dataset: The clips.
        place: Which process this is.

    Raises:
        ConfigError: There are fewer clips than processes.
    """

    def __init__(self, dataset: ClipDataset, place: Place = ALONE) -> None:
        super().__init__(dataset, num_replicas=place.processes, rank=place.rank, shuffle=False)
        self._mine = range(place.rank, len(dataset), place.processes)
        if 0 < len(dataset) < place.processes:
            raise ConfigError(f"{len(dataset)} clips are too few for {place.processes} processes.")

    def __len__(self) -> int:
        return len(self._mine)

    def __iter__(self) -> Iterator[int]:
        return iter(self._mine)


def clip_loader(
    dataset: ClipDataset,
    batch_size: int,
    num_workers: int = 0,
    shuffle_seed: int | None = None,
    place: Place = ALONE,
) -> DataLoader[Any]:
    """A loader over clips.

    Args:
        dataset: The clips.
        batch_size: Clips in a batch, of all processes together.
        num_workers: Threads that read ahead, for each process that trains.
        shuffle_seed: With a seed the clips come in a new order each epoch, as `EpochShuffle` has it.
        place: Of which part of the clips.

    Raises:
        ConfigError: The clips cannot be divided among the processes.
    """
    return ThreadLoader(
        dataset,
        batch_size=max(batch_size // place.processes, 1),
        sampler=(
            OnceEach(dataset, place) if shuffle_seed is None else EpochShuffle(dataset, shuffle_seed, batch_size, place)
        ),
        num_threads=num_workers,
        collate_fn=collate_clips,
        pin_memory=torch.cuda.is_available(),
    )


@lru_cache(maxsize=8192)
def _open(path: Path) -> NDArray[np.generic]:
    """An array's memory map, which holds no data: to open and check it costs more than to read a clip.

    A process may have 65,530 of them, so the latest are kept.
    """
    return check_array(path)
