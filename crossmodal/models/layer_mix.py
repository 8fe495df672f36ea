"""One set of features out of those of many layers."""

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError


class LayerMix(nn.Module):
    """A mean over layers whose weights are learned: a softmax, equal at first.

    As in ELMo (Peters et al., "Deep contextualized word representations", NAACL 2018), without its factor for the
    whole, which a layer after it can learn; and as in SUPERB (Yang et al., Interspeech 2021), whose frozen speech
    networks are read so.

    Args:
        num_layers: Number of layers.

    Raises:
        ConfigError: There is not one layer.

    Example:
        >>> mix = LayerMix(num_layers=2)
        >>> mix(torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])).detach()
        tensor([[[2.],
                 [3.]]])
    """

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        if num_layers < 1:
            raise ConfigError(f"num_layers must be at least 1, got {num_layers}.")
        self.scores = nn.Parameter(torch.zeros(num_layers))

    @property
    def weights(self) -> Tensor:
        """How much each layer counts, of shape (num_layers,); they sum to one."""
        return self.scores.softmax(dim=0)

    def forward(self, features: Tensor) -> Tensor:
        """Mix.

        Args:
            features: Features of shape (B, num_layers * D, frames), one layer below the other.

        Returns:
            Features of shape (B, D, frames).
        """
        layers = features.unflatten(1, (len(self.scores), -1))
        # A product of matrices, which makes no weighted copy of all the layers.
        return (self.weights @ layers.flatten(2)).unflatten(1, layers.shape[2:])
