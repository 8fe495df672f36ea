"""Dataset, samplers and loaders of clips as tensors."""

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
    """Dataset of clips with the requested data; only memory maps are kept open between reads.

    Args:
        clips: Clips in the order of their indices.
        labels: Class names; the label of a clip is the index of its class, -1 if it has none.
        waveforms: Array files of the waveforms by clip, if requested.
        faces: Array files of the face crops by clip, if requested.
        tensors: Tensors stored by clip: face embeddings or teacher outputs.
        features: Array files of the V versions of the stored features by clip, if requested.
        summaries: Summaries of an audio encoder stored by clip.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        labels: Sequence[str],
        waveforms: Mapping[str, Path] | None = None,
        faces: Mapping[str, Path] | None = None,
        tensors: ClipTensors | None = None,
        features: Mapping[str, Sequence[Path]] | None = None,
        summaries: ClipTensors | None = None,
    ) -> None:
        self.clips = list(clips)
        self._label = {name: index for index, name in enumerate(labels)}
        self._arrays = {"waveform": waveforms, "faces": faces}
        self._features = features
        self._tensors = [one for one in (tensors, summaries) if one is not None]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        views = self.view(index)
        return {name: torch.tensor(value) if isinstance(value, np.ndarray) else value for name, value in views.items()}

    def view(self, index: int) -> dict[str, Any]:
        """Return an item with arrays instead of tensors; some are memory maps, to be copied and not modified."""
        clip = self.clips[index]
        item: dict[str, Any] = {
            "clip": clip.clip,
            "label": UNLABELLED if clip.label is None else self._label[clip.label],
        }
        for name, paths in self._arrays.items():
            if paths is not None:
                item[name] = _open(paths[clip.clip])
        if self._features is not None:
            item["features"] = [_open(path) for path in self._features[clip.clip]]
        for tensors in self._tensors:
            item |= tensors[clip.clip]
        return item


def collate_clips(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collate items to a batch: zero-pad waveforms and features to the longest, and stack everything else.

    Args:
        items: Items with tensors on the CPU, or arrays; all are copied.

    Returns:
        ``clip``: names; ``label``: (B,) int64; and, if the items have them, ``waveform``: (B, 1, T) float32 with
        ``waveform_length``: (B,) int64; ``features``: (B, F, audio frames) float32 with ``feature_length``: (B,) int64,
        or (B, V, F, audio frames) and (B, V) for V > 1 versions;
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
            versions = [one for value in values for one in (value if isinstance(value, list) else [value])]
            features, length = pad_features([torch.from_numpy(np.array(one)) for one in versions])
            shape = (len(values), -1) if len(versions) > len(values) else (len(values),)
            batch["features"], batch["feature_length"] = features.unflatten(0, shape), length.unflatten(0, shape)
        else:
            batch[name] = _stack(values)
    return batch


# Torch aligns memory to 64 bytes and numpy does not: with numpy's memory, sums would differ in the last bit between
# processes.


def _pad(waveforms: Sequence[NDArray[np.float32] | Tensor]) -> Tensor:
    """Zero-pad and stack to (B, T), copying each waveform once."""
    rows = torch.zeros(len(waveforms), max(map(len, waveforms)))
    for row, waveform in zip(rows.numpy(), waveforms, strict=True):
        row[: len(waveform)] = waveform
    return rows


def _stack(values: Sequence[NDArray[np.generic] | Tensor]) -> Tensor:
    """Stack to (B, ...), copying each value once."""
    first = np.asarray(values[0])
    stacked = torch.empty((len(values), *first.shape), dtype=torch.from_numpy(np.empty(0, first.dtype)).dtype)
    np.stack([np.asarray(value) for value in values], out=stacked.numpy())
    return stacked


class Shard(NamedTuple):
    """The part of the clips that a process reads.

    Args:
        rank: Index of the process, counted from 0.
        world_size: Number of processes.
    """

    rank: int = 0
    world_size: int = 1


SINGLE_PROCESS = Shard()


class EpochShuffle(DistributedSampler[int]):
    """Shuffle the clips in each epoch, depending only on seed and epoch, and divide each batch among the processes.

    So student and control train on the same batches, a resumed run has the same order as an uninterrupted one, and a
    step does not depend on the number of processes. The last batch is dropped if it is smaller, unless it is the only
    one. Lightning calls `set_epoch`, and does not replace a `DistributedSampler`.

    Args:
        dataset: The clips.
        seed: Seed of the order.
        batch_size: Number of clips per batch, over all processes.
        shard: Part of the clips that this process reads.

    Raises:
        ConfigError: If the clips of a batch cannot be divided evenly.
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
    """Yield every clip once in one of the processes; `DistributedSampler` repeats clips to make the shares equal.

    Args:
        dataset: The clips.
        shard: Part of the clips that this process reads.

    Raises:
        ConfigError: If there are fewer clips than processes.
    """

    def __init__(self, dataset: ClipDataset, shard: Shard = SINGLE_PROCESS) -> None:
        super().__init__(dataset, num_replicas=shard.world_size, rank=shard.rank, shuffle=False)
        self._indices = range(shard.rank, len(dataset), shard.world_size)
        if 0 < len(dataset) < shard.world_size:
            raise ConfigError(f"{len(dataset)} clips are too few for {shard.world_size} processes.")

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)


def clip_loader(
    dataset: ClipDataset,
    batch_size: int,
    num_workers: int = 0,
    shuffle_seed: int | None = None,
    shard: Shard = SINGLE_PROCESS,
) -> DataLoader[Any]:
    """Return a loader of clips.

    Args:
        dataset: The clips.
        batch_size: Number of clips per batch, over all processes.
        num_workers: Number of threads that read ahead in each process.
        shuffle_seed: Seed to shuffle the clips in each epoch with `EpochShuffle`; None for the order of the dataset.
        shard: Part of the clips that this process reads.

    Raises:
        ConfigError: If the clips cannot be divided among the processes.
    """
    return ThreadLoader(
        dataset,
        batch_size=max(batch_size // shard.world_size, 1),
        sampler=(
            UnpaddedDistributedSampler(dataset, shard)
            if shuffle_seed is None
            else EpochShuffle(dataset, shuffle_seed, batch_size, shard)
        ),
        num_threads=num_workers,
        collate_fn=collate_clips,
        pin_memory=torch.cuda.is_available(),
    )


@lru_cache(maxsize=8192)
def _open(path: Path) -> NDArray[np.generic]:
    """Open and check the memory map of an array, which takes longer than reading a clip.

    A process can have 65,530 memory maps, so only the latest are cached.
    """
    return check_array(path)
