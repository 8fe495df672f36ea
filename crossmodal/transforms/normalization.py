"""Every feature to zero mean and unit variance: by the statistics of the training actors, or by the clip's own."""

import torch
from torch import Tensor, nn

from crossmodal.transforms.masking import length_mask

_MIN_STD = 1e-3


class FeatureNormalization(nn.Module):
    """Subtract the mean and divide by the standard deviation of each feature.

    The statistics are those of the training actors. They are buffers, so they travel with the model, and training and
    use cannot differ. Until they are fitted, features pass unchanged.

    Args:
        num_features: Number of features.

    Attributes:
        mean: Mean of each feature, of shape (num_features,).
        std: Standard deviation of each feature, of shape (num_features,).
        fitted: Whether the statistics have been set, a boolean of shape ().

    Example:
        >>> normalization = FeatureNormalization(num_features=1)
        >>> batches = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[5.0, 7.0]]])
        >>> normalization.fit_from_sums(*sum(normalization.accumulate(batch) for batch in batches))
        >>> normalization(batches[0])
        tensor([[[-1.3416, -0.4472]]])
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("std", torch.ones(num_features))
        self.register_buffer("fitted", torch.tensor(False))

    def forward(self, features: Tensor) -> Tensor:
        """Normalize features of shape (B, num_features, frames)."""
        return (features - self.mean[:, None]) / self.std[:, None]

    @staticmethod
    def accumulate(features: Tensor, length: Tensor | None = None) -> Tensor:
        """Sum up a batch for `fit_from_sums`.

        Sums of batches and of processes add up with ``+``. They are float64 and on the CPU, because Apple's GPUs have
        no float64.

        Args:
            features: Features of shape (B, num_features, frames).
            length: How many frames of each clip are its own, of shape (B,); all if not given.

        Returns:
            Count, total and total of squares of each feature, of shape (3, num_features).
        """
        values = features.detach().cpu().double()
        mask = torch.ones(len(values), values.shape[-1], dtype=torch.bool)
        if length is not None:
            mask = length_mask(length.cpu(), values.shape[-1])
        values = values.transpose(1, 2)[mask]
        count = values.new_full((values.shape[1],), len(values))
        return torch.stack([count, values.sum(dim=0), values.square().sum(dim=0)])

    def fit_from_sums(self, count: Tensor, total: Tensor, total_of_squares: Tensor) -> None:
        """Set the statistics.

        A feature that never varied has nothing to scale by: it is only shifted.

        Args:
            count: Number of frames, of shape (num_features,) or ().
            total: Sum over them, of shape (num_features,).
            total_of_squares: Sum of squares over them, of shape (num_features,).

        Raises:
            ValueError: There was not one frame.
        """
        if not (count > 0).all():
            raise ValueError("Cannot fit a normalization to no frames at all.")
        mean = total / count
        std = (total_of_squares / count - mean.square()).clamp(min=0).sqrt()
        # Rounding alone leaves a constant of size c a deviation of about 1e-8 c.
        varied = std > 1e-6 * mean.abs() + 1e-12
        self.mean.copy_(mean.float())
        self.std.copy_(torch.where(varied, std, 1.0).float())
        self.fitted.fill_(True)


class ClipNormalization(nn.Module):
    """Subtract from each feature its mean over the clip, and divide it by its deviation if asked to.

    Takes away what is the same in all of a clip: the channel, the speaker's long-term spectrum, the level (cepstral
    mean and variance normalization; Viikki & Laurila, Speech Communication 25, 1998). What an emotion does to these is
    taken away with it.

    Args:
        scale: Whether to divide by the standard deviation too; a feature that does not vary in the clip is only
            shifted.

    Example:
        >>> ClipNormalization(scale=True)(torch.tensor([[[1.0, 3.0, 9.0]]]), length=torch.tensor([2]))
        tensor([[[-1.,  1.,  7.]]])
    """

    def __init__(self, scale: bool = False) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Normalize features of shape (B, num_features, frames), of which so many frames, (B,), are each clip's own."""
        mask = length_mask(length, features.shape[-1])[:, None]
        count = length[:, None, None]
        centred = features - features.masked_fill(~mask, 0.0).sum(dim=-1, keepdim=True) / count
        if not self.scale:
            return centred
        std = (centred.masked_fill(~mask, 0.0).square().sum(dim=-1, keepdim=True) / count).sqrt()
        # What is left of a constant after subtraction is rounding: in dB, about 1e-5.
        return centred / torch.where(std > _MIN_STD, std, 1.0)
