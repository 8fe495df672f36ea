"""Random masking of features."""

import torch
from torch import Tensor

from crossmodal.transforms.random_transform import RandomTransform, check_number

_MAX_MASKS = 100


class SpecAugment(RandomTransform):
    """Set random bands of features and ranges of time to zero, the mean of normalized features.

    Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", Interspeech 2019,
    without time warping. The width of each mask is drawn uniformly from 0 to its maximum, a share of the features or of
    the clip's valid frames, and so is its position. Masks may overlap. For MFCCs, a band is a range of neighbouring
    coefficients, not of frequencies.
    """

    def __init__(
        self,
        num_freq_masks: int = 2,
        freq_mask_share: float = 0.15,
        num_time_masks: int = 2,
        time_mask_share: float = 0.1,
        p: float = 1.0,
    ) -> None:
        super().__init__(p)
        self.num_freq_masks = check_number("num_freq_masks", num_freq_masks, 0, _MAX_MASKS, whole=True)
        self.freq_mask_share = check_number("freq_mask_share", freq_mask_share, 0, 1)
        self.num_time_masks = check_number("num_time_masks", num_time_masks, 0, _MAX_MASKS, whole=True)
        self.time_mask_share = check_number("time_mask_share", time_mask_share, 0, 1)

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Mask normalized features of shape (B, F, frames) of lengths (B,), in training only."""
        if not self.training:
            return features
        batch_size, num_features, num_frames = features.shape
        clips = self.draw_clips(batch_size).to(features.device)[:, None]
        all_features = torch.full_like(length, num_features)
        freq_mask = _draw_mask(all_features, num_features, self.num_freq_masks, self.freq_mask_share)
        time_mask = _draw_mask(length, num_frames, self.num_time_masks, self.time_mask_share)
        return features.masked_fill((freq_mask & clips)[:, :, None] | (time_mask & clips)[:, None], 0.0)


def _draw_mask(length: Tensor, size: int, num_masks: int, share: float) -> Tensor:
    """Draw masks within the first `length` of `size` positions; return their union, of shape (B, size)."""
    random_width, random_start = torch.rand(2, len(length), num_masks, 1).to(length.device)
    length = length[:, None, None]
    width = (random_width * ((length * share).long() + 1)).long()
    start = (random_start * (length - width + 1)).long()
    position = torch.arange(size, device=length.device)
    return ((start <= position) & (position < start + width)).any(dim=1)
