"""What every audio encoder has in common."""

from typing import Any, ClassVar

from torch import Tensor, nn

from crossmodal.models.pooling import Pooling
from crossmodal.transforms import length_mask


class AudioEncoder(nn.Module):
    """Base of the audio encoders: features over time in, one vector per clip out.

    A clip's vector must not depend on what else is in the batch, nor on how far the batch pads it (in evaluation mode;
    in training, batch normalization sees the whole batch). A new encoder is a subclass with ``steps`` and a pooling, or
    with ``forward``, in a file of its own, and a line in `crossmodal.models.factory`.

    Attributes:
        pooling: What makes one vector of the steps.
        out_features: Width of the vector.
        has_steps: Whether it makes steps at all: something of each part of a clip, before they are pooled.
        rebuild_kwargs: Arguments to put in place of those given, in a twin that a state dict will fill.
        summarizes: Whether it makes of a clip, before it learns anything, one vector that a training loop can keep:
            then it has ``summarize``, from features to (B, P), and ``encode_summary``, from there to the result.
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
            length: How many audio frames of each clip are its own, at least 1, of shape (B,).

        Returns:
            One vector per clip, of shape (B, out_features).
        """
        pooled: Tensor = self.pooling(*self.steps(features, length))
        return pooled

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """What it says of each part of a clip, part after part; shapes of the arguments as in `forward`.

        Returns:
            Steps of shape (B, pooling.in_features, steps), and how many of them are each clip's own, of shape (B,).
        """
        raise NotImplementedError

    def summarize(self, features: Tensor, length: Tensor) -> Tensor:
        """What does not change in training, of shape (B, P); shapes of the arguments as in `forward`."""
        raise NotImplementedError

    def encode_summary(self, summary: Tensor) -> Tensor:
        """Encode what `summarize` returned, to (B, out_features)."""
        raise NotImplementedError


def strided_convolution(in_features: int, hidden_size: int, subsampling: int) -> nn.Conv1d:
    """Make the convolution that makes one step of so many audio frames.

    A clip's time in a model falls with its number of steps, and emotion moves slower than the 10 ms of an audio frame.

    Args:
        in_features: Number of features per audio frame.
        hidden_size: Number of features per step.
        subsampling: Audio frames per step, at least 1.

    Returns:
        The convolution, for features of shape (B, in_features, audio frames) with zeros as padding. It makes
        ceil(length / subsampling) steps of a clip, alone as in a batch.
    """
    taps = 2 * subsampling - 1
    return nn.Conv1d(in_features, hidden_size, kernel_size=taps, stride=subsampling, padding=subsampling - 1)


def zero_padding(features: Tensor, length: Tensor) -> Tensor:
    """Make zero whatever stands after a clip's end, NaN as well.

    Args:
        features: Of shape (B, in_features, audio frames).
        length: How many audio frames of each clip are its own, of shape (B,).

    Returns:
        The features with zeros as padding.
    """
    own = length_mask(length, features.shape[-1])
    return features.masked_fill(~own[:, None], 0.0)
