"""Padding of clips to a batch, and masks of its valid positions."""

from collections.abc import Sequence

import torch
from torch import Tensor


def length_mask(length: Tensor, size: int) -> Tensor:
    """Return a mask of the valid positions of each clip, of shape (B, size), from their numbers, of shape (B,)."""
    return torch.arange(size, device=length.device) < length[:, None]


def pad_features(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack features (F, frames) to (B, F, longest), float32, zero in the padding; also return the lengths, (B,)."""
    length = torch.tensor([clip.shape[-1] for clip in clips], device=clips[0].device)
    batch = clips[0].new_zeros(len(clips), clips[0].shape[0], int(length.max()), dtype=torch.float)
    for row, clip in zip(batch, clips, strict=True):
        row[:, : clip.shape[-1]] = clip
    return batch, length
