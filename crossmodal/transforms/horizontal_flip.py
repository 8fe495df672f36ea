"""Faces mirrored by chance."""

import torch
from torch import Tensor


def random_horizontal_flip(faces: Tensor, p: float) -> Tensor:
    """Mirror some clips, each with all its video frames; not torchvision's, which decides once for a whole batch.

    Args:
        faces: Of shape (B, N, 3, H, W).
        p: Probability for each clip.

    Returns:
        A new tensor of the same shape; `faces` itself where `p` is 0.

    Example:
        >>> faces = torch.arange(2.0).expand(1, 1, 3, 1, 2)
        >>> random_horizontal_flip(faces, p=1.0)[0, 0, 0]
        tensor([[1., 0.]])
    """
    if not p:
        return faces
    mirrored = torch.rand(len(faces), device=faces.device) < p
    return torch.where(mirrored[:, None, None, None, None], faces.flip(-1), faces)
