"""Model outputs that a student can be taught."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """Outputs of a model for the B clips of a batch.

    Args:
        embedding: Embeddings of shape (B, E).
        logits: Logits of shape (B, K).
        features: Mean over time of the model's normalized input, of shape (B, D); None if not requested.
        windows: Embeddings of N equal windows of each clip, of shape (B, N, E); None if the model has none or they are
            not requested.
    """

    embedding: Tensor
    logits: Tensor
    features: Tensor | None = None
    windows: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Outputs":
        """Apply a function to every tensor, for example ``outputs.map(lambda tensor: tensor[keep])``."""
        return Outputs._make(None if tensor is None else change(tensor) for tensor in self)
