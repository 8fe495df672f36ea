"""What a model says of clips, all of which a student can be taught."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """What a model says of the B clips of a batch.

    Args:
        embedding: (B, E).
        logits: (B, K).
        features: (B, D), the mean over time of what the model is given, normalized; None where nobody asks for it.
        windows: (B, N, E), embeddings of N equal parts of each clip as if each were a clip; None where the model has
            none, or nobody asks for them.
    """

    embedding: Tensor
    logits: Tensor
    features: Tensor | None = None
    windows: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Outputs":
        """Change all that is there, e.g. ``outputs.map(lambda tensor: tensor[keep])``."""
        return Outputs._make(None if tensor is None else change(tensor) for tensor in self)
