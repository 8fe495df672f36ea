"""Which positions of a padded batch are real."""

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
