"""Standardization of features with the statistics of the training actors or of each clip."""

import torch
from torch import Tensor, nn

from crossmodal.transforms.masking import length_mask

_MIN_STD = 1e-3


class FeatureNormalization(nn.Module):
    """Subtract the mean and divide by the standard deviation of each feature.

    The statistics are those of the training actors. They are buffers of the model, so training and inference cannot
    differ. Until they are fitted, features are returned unchanged.

    Args:
        num_features: Number of features.
    """

    mean: Tensor  # of each feature, (num_features,)
    std: Tensor
    fitted: Tensor  # whether the statistics have been set, a boolean of shape ()

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("std", torch.ones(num_features))
        self.register_buffer("fitted", torch.tensor(False))

    def forward(self, features: Tensor) -> Tensor:
        """Normalize features of shape (B, num_features, frames)."""
        return (features - self.mean[:, None]) / self.std[:, None]

    def inverse(self, normalized: Tensor) -> Tensor:
        """Return the features of normalized ones, of the same shape."""
        return normalized * self.std[:, None] + self.mean[:, None]

    @staticmethod
    def accumulate(features: Tensor, length: Tensor | None = None) -> Tensor:
        """Compute the sums of a batch for `fit_from_sums`; add those of batches and of processes with ``+``.

        They are on the CPU, because Apple's GPUs do not support float64.

        Features of shape (B, num_features, frames) with valid lengths of shape (B,), all frames by default, give count,
        sum and sum of squares of each feature, of shape (3, num_features).
        """
        values = features.detach().cpu().double().transpose(1, 2)
        values = values.flatten(0, 1) if length is None else values[length_mask(length.cpu(), values.shape[1])]
        count = values.new_full((values.shape[1],), len(values))
        return torch.stack([count, values.sum(dim=0), values.square().sum(dim=0)])

    def fit_from_sums(self, count: Tensor, total: Tensor, total_of_squares: Tensor) -> None:
        """Set the statistics; a constant feature is shifted but not scaled.

        Raises:
            ValueError: If there are no frames.
        """
        if not (count > 0).all():
            raise ValueError("Cannot fit a normalization without frames.")
        mean = total / count
        std = (total_of_squares / count - mean.square()).clamp(min=0).sqrt()
        # Rounding errors give a constant of size c a deviation of about 1e-8 c.
        varies = std > 1e-6 * mean.abs() + 1e-12
        self.mean.copy_(mean.float())
        self.std.copy_(torch.where(varies, std, 1.0).float())
        self.fitted.fill_(True)


class ClipNormalization(nn.Module):
    """Subtract the mean of each feature over the clip, and optionally divide by its standard deviation.

    This removes everything constant over a clip: the channel, the speaker's long-term spectrum and the level (cepstral
    mean and variance normalization; Viikki & Laurila, Speech Communication 25, 1998). The effect of emotion on these is
    removed too. A feature that is constant over the clip is not scaled.
    """

    def __init__(self, scale: bool = False) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Normalize features of shape (B, num_features, frames) with valid lengths of shape (B,)."""
        mask = length_mask(length, features.shape[-1])[:, None]
        count = length[:, None, None]
        centred = features - features.masked_fill(~mask, 0.0).sum(dim=-1, keepdim=True) / count
        if not self.scale:
            return centred
        std = (centred.masked_fill(~mask, 0.0).square().sum(dim=-1, keepdim=True) / count).sqrt()
        # Rounding errors give a constant a deviation of about 1e-5 in dB.
        return centred / torch.where(std > _MIN_STD, std, 1.0)
