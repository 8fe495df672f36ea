"""What every audio encoder has in common."""

from torch import Tensor, nn


class AudioEncoder(nn.Module):
    """Base of the audio encoders: features over time in, one vector per clip out.

    A clip's vector must not depend on what else is in the batch, nor on how far the batch pads it (in evaluation mode;
    in training, batch normalization sees the whole batch). A new encoder is a subclass with ``forward`` in a file of
    its own, and a line in `crossmodal.models.factory`.

    Attributes:
        out_features: Width of the vector.
    """

    out_features: int

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Encode a batch.

        Args:
            features: Normalized features of shape (B, in_features, audio frames).
            length: How many audio frames of each clip are its own, at least 1, of shape (B,).

        Returns:
            One vector per clip, of shape (B, out_features).
        """
        raise NotImplementedError
