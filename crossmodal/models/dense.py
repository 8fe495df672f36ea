"""Dense audio encoder, which ignores the order of audio frames."""

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.models.batch_norm import BatchNorm1d
from crossmodal.models.encoder import AudioEncoder
from crossmodal.models.pooling import PoolingName, create_pooling


class DenseEncoder(AudioEncoder):
    """Fully connected layers on statistics over time.

    Deltas are its only information about order in time: give the front end ``deltas: 2``. Its input is a small vector
    per clip, so it memorises its training actors less than an encoder that processes every frame.

    Args:
        hidden_size: Width of the layers.
        num_layers: Number of layers.
        dropout: Fraction of activations dropped after each layer.
    """

    def __init__(
        self,
        in_features: int,
        hidden_size: int = 256,
        num_layers: int = 2,
        pooling: PoolingName = "functionals",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.pooling = create_pooling(pooling, in_features)
        # The mean of a feature varies a hundred times as much as the deviation of a delta; normalize their scales.
        self.norm = BatchNorm1d(self.pooling.out_features, affine=False)
        self._sizes = [self.pooling.out_features] + [hidden_size] * num_layers
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(size, hidden_size), nn.LayerNorm(hidden_size), nn.GELU(), nn.Dropout(dropout))
                for size in self._sizes[:-1]
            )
        )
        self.summarizes = not any(True for _ in self.pooling.parameters())  # attention has learned weights

    @property
    def out_features(self) -> int:
        """Width of the vector."""
        return self._sizes[-1]

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Encode a batch; shapes as for `AudioEncoder`."""
        return self.encode_summary(self.summarize(features, length))

    def summarize(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute statistics over time, of shape (B, P)."""
        pooled: Tensor = self.pooling(features, length)
        return pooled

    def encode_summary(self, summary: Tensor) -> Tensor:
        """Encode statistics over time, of shape (B, P), to (B, out_features)."""
        # A single clip has no batch statistics.
        if self.training and len(summary) == 1 and not self.norm.is_shared:
            normalized = F.batch_norm(summary, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps)
            return self.layers(normalized)
        return self.layers(self.norm(summary))
