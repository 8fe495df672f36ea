"""Cutting of clips into equal windows, to compare face and voice at the same times."""

import torch
from torch import Tensor


def cut_into_windows(steps: Tensor, length: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cut the valid steps of each clip into windows whose lengths differ by at most one step.

    If a clip has fewer steps than windows, some steps are in several windows.

    Args:
        steps: Steps of shape (B, C, steps).
        length: Number of valid steps of each clip, at least 1, of shape (B,).
        count: Number of windows N.

    Returns:
        Windows of shape (B * N, C, steps of the longest), those of a clip in sequence, and the number of valid steps of
        each window, of shape (B * N,).

    Example:
        >>> windows, length = cut_into_windows(torch.arange(5.0).view(1, 1, 5), torch.tensor([5]), count=2)
        >>> windows.squeeze(1).tolist(), length.tolist()
        ([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]], [2, 3])
    """
    edges = torch.arange(count + 1, device=length.device) * length[:, None] // count
    start = edges[:, :-1]
    size = (edges[:, 1:] - start).clamp(min=1)
    index = start[..., None] + torch.arange(int(size.max()), device=length.device)  # (B, N, steps of a window)
    index = index.clamp(max=length[:, None, None] - 1).flatten(1)
    windows = steps.gather(2, index[:, None].expand(-1, steps.shape[1], -1))
    return windows.unflatten(2, (count, -1)).transpose(1, 2).flatten(0, 1), size.flatten()
