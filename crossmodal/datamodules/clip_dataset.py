"""Dataset, samplers and loaders of clips as tensors."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from crossmodal.batch import UNLABELLED
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.stored_array import copy_array, open_array
from crossmodal.transforms import pad_features


class ClipDataset(Dataset[dict[str, Any]]):
    """Dataset of clips with the requested data; only memory maps are kept open between reads.

    Labels are class indices, -1 for a clip without one. `features` are array files of the V versions of stored features
    by clip, `tensors` are others stored by clip, and `read` opens a waveform or face crops.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        labels: Sequence[str],
        waveforms: Mapping[str, Path] | None = None,
        faces: Mapping[str, Path] | None = None,
        tensors: ClipTensors | Sequence[ClipTensors] | None = None,
        features: Mapping[str, Sequence[Path]] | None = None,
        read: Callable[[Path], NDArray[np.generic]] = open_array,
    ) -> None:
        self.clips = list(clips)
        self._label = {name: index for index, name in enumerate(labels)}
        self._arrays = {"waveform": waveforms, "faces": faces}
        self._features = features
        self._read = read
        self._tensors = [tensors] if isinstance(tensors, ClipTensors) else list(tensors or ())

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
                item[name] = self._read(paths[clip.clip])
        if self._features is not None:
            item["features"] = [copy_array(path) for path in self._features[clip.clip]]
        for tensors in self._tensors:
            item |= tensors[clip.clip]
        return item


def collate_clips(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collate items to a batch: zero-pad waveforms and features to the longest, and stack everything else.

    Items have tensors on the CPU, or arrays; all are copied.

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
            features, length = pad_features([torch.tensor(np.asarray(one)) for one in versions])
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
