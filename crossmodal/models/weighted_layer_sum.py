"""Learned weighted sum of the features of several layers."""

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError


class WeightedLayerSum(nn.Module):
    """Sum of layers with learned softmax weights, initially equal.

    As in ELMo (Peters et al., "Deep contextualized word representations", NAACL 2018), without its global scale, which
    a later layer can learn. SUPERB (Yang et al., Interspeech 2021) uses the same sum for frozen speech networks.

    Args:
        num_layers: Number of layers.

    Raises:
        ConfigError: If ``num_layers`` is less than 1.

    Example:
        >>> mix = WeightedLayerSum(num_layers=2)
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
        """Weight of each layer, of shape (num_layers,); they sum to one."""
        return self.scores.softmax(dim=0)

    def forward(self, features: Tensor) -> Tensor:
        """Sum the layers.

        Args:
            features: Features of shape (B, num_layers * D, frames), layers concatenated.

        Returns:
            Features of shape (B, D, frames).
        """
        layers = features.unflatten(1, (len(self.scores), -1))
        # A matrix product avoids a weighted copy of all layers.
        return (self.weights @ layers.flatten(2)).unflatten(1, layers.shape[2:])
