"""Parts of the features hidden by chance."""

import torch
from torch import Tensor

from crossmodal.transforms.random_transform import RandomTransform, check_number

_MAX_MASKS = 100


class SpecAugment(RandomTransform):
    """Hide bands of features and stretches of time, by zero, which is the mean of normalized features.

    Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", Interspeech 2019,
    without the warping of time. Every mask has a width drawn evenly from none to its largest, and a place drawn evenly.
    Masks may overlap. Those of time lie within the clip's own frames. Of MFCCs, a band is some neighbouring
    coefficients and not a band of frequencies.

    Args:
        num_freq_masks: Number of masks over features, from 0 to 100.
        freq_mask_share: Largest width of each, as a share of the features.
        num_time_masks: Number of masks over time, from 0 to 100.
        time_mask_share: Largest width of each, as a share of the clip's own frames.
        p: Probability for each clip.

    Raises:
        ConfigError: A number or share that cannot be.

    Example:
        >>> _ = torch.manual_seed(6)
        >>> hide = SpecAugment(num_freq_masks=1, freq_mask_share=0.5, num_time_masks=1, time_mask_share=0.5)
        >>> hide(torch.ones(1, 4, 6), torch.tensor([6]))[0].int()
        tensor([[1, 0, 0, 1, 1, 1],
                [1, 0, 0, 1, 1, 1],
                [1, 0, 0, 1, 1, 1],
                [0, 0, 0, 0, 0, 0]], dtype=torch.int32)
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
        check_number("num_freq_masks", num_freq_masks, 0, _MAX_MASKS, whole=True)
        check_number("freq_mask_share", freq_mask_share, 0, 1)
        check_number("num_time_masks", num_time_masks, 0, _MAX_MASKS, whole=True)
        check_number("time_mask_share", time_mask_share, 0, 1)
        self.num_freq_masks, self.freq_mask_share = num_freq_masks, freq_mask_share
        self.num_time_masks, self.time_mask_share = num_time_masks, time_mask_share

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Mask a batch; in eval mode it is returned as it is.

        Args:
            features: Normalized features of shape (B, F, frames).
            length: How many frames of each clip are its own, of shape (B,).

        Returns:
            Features of the same shape.
        """
        if not self.training:
            return features
        batch_size, num_features, num_frames = features.shape
        clips = self.draw_clips(batch_size).to(features.device)[:, None]
        all_features = torch.full_like(length, num_features)
        freq_mask = _draw_mask(all_features, num_features, self.num_freq_masks, self.freq_mask_share)
        time_mask = _draw_mask(length, num_frames, self.num_time_masks, self.time_mask_share)
        return features.masked_fill((freq_mask & clips)[:, :, None] | (time_mask & clips)[:, None], 0.0)


def _draw_mask(length: Tensor, size: int, num_masks: int, share: float) -> Tensor:
    """Draw masks within the first `length` of `size` positions: true where any of a clip's masks is, (B, size)."""
    drawn_width, drawn_place = torch.rand(2, len(length), num_masks, 1).to(length.device)
    length = length[:, None, None]
    width = (drawn_width * ((length * share).long() + 1)).long()
    start = (drawn_place * (length - width + 1)).long()
    position = torch.arange(size, device=length.device)
    return ((start <= position) & (position < start + width)).any(dim=1)
