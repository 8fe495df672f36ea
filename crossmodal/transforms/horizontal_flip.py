"""Random horizontal flip of faces."""

import torch
from torch import Tensor


def random_horizontal_flip(faces: Tensor, p: float) -> Tensor:
    """Flip random clips of (B, N, 3, H, W) as a whole; torchvision's transform flips all or none of a batch."""
    from torchvision.transforms import v2  # half a second, which audio-only inference need not take

    flip = v2.RandomHorizontalFlip(p)
    return torch.stack([flip(clip) for clip in faces]) if p else faces
