"""Random horizontal flip of faces."""

import torch
from torch import Tensor


def random_horizontal_flip(faces: Tensor, p: float) -> Tensor:
    """Flip random clips, each with all its video frames; torchvision's transform flips all or none of a batch.

    Args:
        faces: Faces of shape (B, N, 3, H, W).
        p: Probability for each clip.

    Returns:
        A new tensor of the same shape, or `faces` itself if `p` is 0.
    """
    from torchvision.transforms import v2  # half a second, which audio-only inference need not take

    flip = v2.RandomHorizontalFlip(p)
    return torch.stack([flip(clip) for clip in faces]) if p else faces
