"""Base class and shared parts of the audio encoders."""

from torch import Tensor, nn

from crossmodal.models.pooling import Pooling
from crossmodal.transforms import length_mask


class AudioEncoder(nn.Module):
    """Base class of the audio encoders, which map features over time to one vector per clip.

    All encoders take ``in_features``, the number of features per audio frame, and ``pooling`` over time: a name, or
    your own, see `create_pooling`.

    In evaluation mode a clip's vector must not depend on the other clips of the batch or on the amount of padding; in
    training, batch normalization uses the whole batch. Your own encoder is a subclass with ``steps`` and a pooling, or
    with ``forward``, given as a class or its path. One of the library also has a line in `crossmodal.models.factory`.

    Attributes:
        pooling: Pooling of the steps to one vector.
        summarizes: Whether the encoder reduces a clip to one vector before any learned layer, so that a training loop
            can cache it. Such an encoder implements ``summarize`` and ``encode_summary``.

    Examples:
        >>> import torch
        >>> from crossmodal.models import LSTMEncoder
        >>> encoder = LSTMEncoder(in_features=40, hidden_size=128, pooling="mean")
        >>> encoder(torch.randn(2, 40, 300), length=torch.tensor([300, 120])).shape
        torch.Size([2, 256])
    """

    pooling: Pooling
    summarizes: bool = False

    @property
    def out_features(self) -> int:
        """Width of the vector."""
        return self.pooling.out_features

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


class StridedConv1d(nn.Conv1d):
    """Convolution that reduces every `subsampling` audio frames to one step, without padding's effect on a clip."""

    # Fewer steps make a model faster, and emotion changes more slowly than the 10 ms of an audio frame.

    def __init__(self, in_features: int, hidden_size: int, subsampling: int) -> None:
        taps = 2 * subsampling - 1
        super().__init__(in_features, hidden_size, kernel_size=taps, stride=subsampling, padding=subsampling - 1)

    def forward(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Compute steps of shape (B, hidden_size, steps), and their lengths, ceil(length / subsampling)."""
        steps = super().forward(mask_padding(features, length))
        return steps, (length + self.stride[0] - 1) // self.stride[0]


def mask_padding(features: Tensor, length: Tensor) -> Tensor:
    """Set features of shape (B, F, audio frames) beyond each clip's length, (B,), to zero, including NaN."""
    mask = length_mask(length, features.shape[-1])
    return features.masked_fill(~mask[:, None], 0.0)
