"""Base class and shared functions of the audio encoders."""

from typing import Any, ClassVar

from torch import Tensor, nn

from crossmodal.models.pooling import Pooling
from crossmodal.transforms import length_mask


class AudioEncoder(nn.Module):
    """Base class of the audio encoders, which map features over time to one vector per clip.

    In evaluation mode a clip's vector must not depend on the other clips of the batch or on the amount of padding; in
    training, batch normalization uses the whole batch. To add an encoder, write a subclass with ``steps`` and a
    pooling, or with ``forward``, in its own file, and add a line to `crossmodal.models.factory`.

    Attributes:
        pooling: Pooling of the steps to one vector.
        out_features: Width of the vector.
        has_steps: Whether the encoder produces steps, one vector for each part of a clip, before pooling.
        rebuild_kwargs: Constructor arguments to override when the encoder is rebuilt for a state dict.
        summarizes: Whether the encoder reduces a clip to one vector before any learned layer, so that a training loop
            can cache it. Such an encoder implements ``summarize`` and ``encode_summary``.
    """

    pooling: Pooling
    out_features: int
    has_steps: ClassVar[bool] = True
    summarizes: bool = False
    rebuild_kwargs: ClassVar[dict[str, Any]] = {}

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Encode a batch.

        Args:
            features: Normalized features of shape (B, in_features, audio frames).
            length: Number of valid audio frames of each clip, at least 1, of shape (B,).

        Returns:
            One vector per clip, of shape (B, out_features).
        """
        pooled: Tensor = self.pooling(*self.steps(features, length))
        return pooled

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each part of a clip, in order; shapes of the arguments as in `forward`.

        Returns:
            Steps of shape (B, pooling.in_features, steps), and the number of valid steps of each clip, of shape (B,).
        """
        raise NotImplementedError

    def summarize(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute the vector of shape (B, P) that training does not change; shapes of the arguments as in `forward`."""
        raise NotImplementedError

    def encode_summary(self, summary: Tensor) -> Tensor:
        """Encode the results of `summarize` to (B, out_features)."""
        raise NotImplementedError


def strided_convolution(in_features: int, hidden_size: int, subsampling: int) -> nn.Conv1d:
    """Create a convolution that reduces every `subsampling` audio frames to one step.

    Fewer steps make a model faster, and emotion changes more slowly than the 10 ms of an audio frame.

    Args:
        in_features: Number of features per audio frame.
        hidden_size: Number of features per step.
        subsampling: Audio frames per step, at least 1.

    Returns:
        The convolution, for zero-padded features of shape (B, in_features, audio frames). A clip has
        ceil(length / subsampling) steps, alone or in a batch.
    """
    taps = 2 * subsampling - 1
    return nn.Conv1d(in_features, hidden_size, kernel_size=taps, stride=subsampling, padding=subsampling - 1)


def mask_padding(features: Tensor, length: Tensor) -> Tensor:
    """Set features beyond each clip's length to zero, including NaN.

    Args:
        features: Features of shape (B, in_features, audio frames).
        length: Number of valid audio frames of each clip, of shape (B,).

    Returns:
        The features with zeros in the padding.
    """
    mask = length_mask(length, features.shape[-1])
    return features.masked_fill(~mask[:, None], 0.0)
