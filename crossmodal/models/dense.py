"""The dense audio encoder: what remains of a clip when its order in time is dropped."""

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.models.batch_norm import BatchNorm1d
from crossmodal.models.encoder import AudioEncoder
from crossmodal.models.pooling import PoolingName, create_pooling


class DenseEncoder(AudioEncoder):
    """Statistics over time into fully connected layers.

    What it knows of order in time, it knows from deltas: give the front end ``deltas: 2``. It sees few numbers a clip,
    so it learns less of its training actors by heart than what goes through a clip frame by frame.

    Args:
        in_features: Number of features per audio frame.
        hidden_size: Width of the layers.
        num_layers: Number of layers.
        pooling: How features over time become one vector.
        dropout: Share of activations dropped after each layer.

    Example:
        >>> import torch
        >>> encoder = DenseEncoder(in_features=40, hidden_size=256)
        >>> encoder(torch.randn(2, 40, 300), length=torch.tensor([300, 120])).shape
        torch.Size([2, 256])
    """

    has_steps = False

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
        # A mean varies a hundred times as much as the deviation of a delta does; to a layer both are to count the same.
        self.norm = BatchNorm1d(self.pooling.out_features, affine=False)
        sizes = [self.pooling.out_features] + [hidden_size] * num_layers
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(size, hidden_size), nn.LayerNorm(hidden_size), nn.GELU(), nn.Dropout(dropout))
                for size in sizes[:-1]
            )
        )
        self.out_features = sizes[-1]
        self.summarizes = pooling != "attention"  # whose weights are learned

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Encode a batch; shapes as for `AudioEncoder`."""
        return self.encode_summary(self.summarize(features, length))

    def summarize(self, features: Tensor, length: Tensor) -> Tensor:
        """Statistics over time, (B, P)."""
        pooled: Tensor = self.pooling(features, length)
        return pooled

    def encode_summary(self, summary: Tensor) -> Tensor:
        """Encode statistics over time, (B, P), to (B, out_features)."""
        # A single clip has no statistics of a batch.
        if self.training and len(summary) == 1 and not self.norm.is_shared:
            normalized = F.batch_norm(summary, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps)
            return self.layers(normalized)
        return self.layers(self.norm(summary))
