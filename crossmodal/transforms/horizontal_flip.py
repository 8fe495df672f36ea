"""Random horizontal flip of faces."""

import torch
from torch import Tensor


def random_horizontal_flip(faces: Tensor, p: float) -> Tensor:
    """Flip random clips, each with all its video frames; torchvision's version flips all or none of a batch.

    Args:
        faces: Faces of shape (B, N, 3, H, W).
        p: Probability for each clip.

    Returns:
        A new tensor of the same shape, or `faces` itself if `p` is 0.

    Example:
        >>> faces = torch.arange(2.0).expand(1, 1, 3, 1, 2)
        >>> random_horizontal_flip(faces, p=1.0)[0, 0, 0]
        tensor([[1., 0.]])
    """
    if not p:
        return faces
    flip = torch.rand(len(faces), device=faces.device) < p
    return torch.where(flip[:, None, None, None, None], faces.flip(-1), faces)
