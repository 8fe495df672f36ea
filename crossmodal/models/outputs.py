"""Model outputs that a student can be taught."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """Outputs of a model for the B clips of a batch; None if not available."""

    embedding: Tensor  # (B, E); None for some teachers of the user
    logits: Tensor  # (B, K)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Outputs":
        """Apply a function to every tensor, for example ``outputs.map(lambda tensor: tensor[keep])``."""
        return Outputs._make(None if tensor is None else change(tensor) for tensor in self)
