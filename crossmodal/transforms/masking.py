"""Clips of different lengths in one batch, and which of its positions are real."""

from collections.abc import Sequence

import torch
from torch import Tensor


def length_mask(length: Tensor, size: int) -> Tensor:
    """Tell the positions of each clip from its padding.

    Args:
        length: How many positions of each clip are its own, of shape (B,).
        size: Number of positions in the padded batch.

    Returns:
        Boolean mask of shape (B, size), true where the clip is.

    Example:
        >>> length_mask(torch.tensor([1, 3]), size=3)
        tensor([[ True, False, False],
                [ True,  True,  True]])
    """
    return torch.arange(size, device=length.device) < length[:, None]


def pad_features(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack clips of different lengths.

    Args:
        clips: Features of each, of shape (F, frames), of any float type.

    Returns:
        Features of shape (B, F, frames of the longest), float32, zero beyond each clip's own frames, and how many those
        are, of shape (B,).

    Example:
        >>> pad_features([torch.ones(1, 1), torch.ones(1, 3)])
        (tensor([[[1., 0., 0.]],
        <BLANKLINE>
                [[1., 1., 1.]]]), tensor([1, 3]))
    """
    length = torch.tensor([clip.shape[-1] for clip in clips], device=clips[0].device)
    batch = clips[0].new_zeros(len(clips), clips[0].shape[0], int(length.max()), dtype=torch.float)
    for row, clip in zip(batch, clips, strict=True):
        row[:, : clip.shape[-1]] = clip
    return batch, length
