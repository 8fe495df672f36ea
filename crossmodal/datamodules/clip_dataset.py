"""Clips as tensors: what a training loop reads, one memory map at a time."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from crossmodal.datasets.cache import read_array
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import DataError
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
        clip = self.clips[index]
        item: dict[str, Any] = {
            "clip": clip.clip,
            "label": UNLABELLED if clip.label is None else self._label[clip.label],
        }
        for name, paths in self._arrays.items():
            if paths is not None:
                item[name] = _read(paths[clip.clip])
        if self._tensors is not None:
            item |= {name: torch.tensor(row) for name, row in self._tensors[clip.clip].items()}
        return item


def collate_clips(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make the batch of the items: waveforms and features padded with zeros to the longest, everything else stacked.

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
            batch["waveform"] = torch.nn.utils.rnn.pad_sequence(values, batch_first=True).unsqueeze(1)
        elif name == "features":
            batch["features"], batch["feature_length"] = pad_features(values)
        else:
            batch[name] = torch.stack(values)
    return batch


class EpochShuffle(Sampler[int]):
    """A new order each epoch that depends on the seed and the epoch only.

    So a student and its control meet the same batches, and a run that was stopped goes on with the order that it would
    have had. Lightning calls `set_epoch`.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        return iter(torch.randperm(self._size, generator=generator).tolist())


def clip_loader(
    dataset: ClipDataset, batch_size: int, num_workers: int = 0, shuffle_seed: int | None = None
) -> DataLoader[Any]:
    """A loader over clips; with a seed in a new order each epoch, and without the last batch if it is smaller."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochShuffle(len(dataset), shuffle_seed) if shuffle_seed is not None else None,
        drop_last=shuffle_seed is not None and len(dataset) >= batch_size,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=collate_clips,
        pin_memory=torch.cuda.is_available(),
    )


def _read(path: Path) -> Tensor:
    # A copy: the memory map is read-only, and a tensor must not outlive it.
    return torch.from_numpy(_open(path).copy())


@lru_cache(maxsize=8192)
def _open(path: Path) -> NDArray[np.generic]:
    """An array's memory map, which holds no data: to open it costs more than to read a clip.

    A process may have 65,530 of them, so the latest are kept.
    """
    array = read_array(path)
    if array is None:
        raise DataError(f"{path} is gone from the cache or damaged: run the command again and it is made anew.")
    return array
