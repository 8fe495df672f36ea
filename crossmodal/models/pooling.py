"""Pooling of features over time to one vector per clip, excluding padding, and over the layers of a network."""

from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.naming import Part
from crossmodal.transforms import length_mask

PoolingName = Literal["attention", "functionals", "last", "mean", "stats"]

_EPS = 1e-5  # keeps the deviation of a single frame, and its gradient, finite


class Pooling(nn.Module):
    """Base class of the library's poolings, which implement ``_pool``; your own may be any module."""

    values_per_feature: ClassVar[int] = 1

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.in_features = self.num_features = num_features
        self.out_features = self.values_per_feature * num_features

    def forward(self, features: Tensor, length: Tensor | None = None) -> Tensor:
        """Pool (B, in_features, frames), with `length` valid frames of each clip, at least 1, to (B, out_features)."""
        if length is None:
            length = torch.full((len(features),), features.shape[-1], device=features.device)
        return self._pool(features, length, length_mask(length, features.shape[-1])[:, None])

    def _pool(self, features: Tensor, length: Tensor, mask: Tensor) -> Tensor:
        """Pool over time; `mask` of shape (B, 1, frames) is False in the padding."""
        raise NotImplementedError


class MeanPooling(Pooling):
    """Mean over time."""

    def _pool(self, features: Tensor, length: Tensor, mask: Tensor) -> Tensor:
        return _masked_mean(features, mask)


class StatsPooling(Pooling):
    """Mean and standard deviation over time, as in x-vectors (Snyder et al., ICASSP 2018)."""

    values_per_feature = 2

    def _pool(self, features: Tensor, length: Tensor, mask: Tensor) -> Tensor:
        mean = _masked_mean(features, mask)
        variance = _masked_mean((features - mean[..., None]).square(), mask)
        return torch.cat([mean, (variance + _EPS).sqrt()], dim=1)


class FunctionalsPooling(StatsPooling):
    """Mean, standard deviation and five quantiles over time: 0.05, 0.25, 0.5, 0.75 and 0.95.

    The quantiles describe the distribution of a feature and are robust to outliers. openSMILE's ComParE set consists of
    such functionals (Schuller et al., Interspeech 2016). A quantile is the value of the nearest frame by rank.
    """

    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    values_per_feature = 2 + len(quantiles)

    def _pool(self, features: Tensor, length: Tensor, mask: Tensor) -> Tensor:
        ordered = features.masked_fill(~mask, torch.inf).sort(dim=-1).values
        shares = torch.tensor(self.quantiles, device=features.device)
        rank = (shares * (length[:, None] - 1)).round().long()  # (B, quantiles)
        quantiles = ordered.gather(2, rank[:, None].expand(-1, features.shape[1], -1))
        return torch.cat([super()._pool(features, length, mask), quantiles.flatten(1)], dim=1)


class AttentionPooling(Pooling):
    """Weighted mean over time with learned weights (Mirsamadi et al., ICASSP 2017).

    The score of a frame is ``v . tanh(W x + b)``; the weights are the softmax of the scores over the valid frames.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        hidden_size = max(num_features // 2, 1)
        self.score = nn.Sequential(
            nn.Conv1d(num_features, hidden_size, kernel_size=1), nn.Tanh(), nn.Conv1d(hidden_size, 1, 1, bias=False)
        )

    def _pool(self, features: Tensor, length: Tensor, mask: Tensor) -> Tensor:
        weight = self.score(features).masked_fill(~mask, -torch.inf).softmax(dim=-1)
        return (features.masked_fill(~mask, 0.0) * weight).sum(dim=-1)


class LastPooling(Pooling):
    """Last valid frame of each clip."""

    def _pool(self, features: Tensor, length: Tensor, mask: Tensor) -> Tensor:
        last = (length - 1)[:, None, None].expand(-1, features.shape[1], 1)
        return features.gather(2, last).squeeze(2)


_POOLINGS: dict[PoolingName, type[Pooling]] = {
    "attention": AttentionPooling,
    "functionals": FunctionalsPooling,
    "last": LastPooling,
    "mean": MeanPooling,
    "stats": StatsPooling,
}


pooling_part = partial(Part.parse, "pooling", _POOLINGS, base=nn.Module)


def create_pooling(name: Any, num_features: int) -> Any:
    """Create a pooling by name, or your own: ``module.Class``, ``{class_path, init_args}``, a class or an object.

    Raises:
        ConfigError: If there is no pooling of that name or path, or it has no ``out_features``.

    Examples:
        >>> create_pooling("stats", num_features=3)(torch.zeros(2, 3, 10)).shape
        torch.Size([2, 6])
    """
    return pooling_part(name).create({"num_features": num_features}, "out_features")


class WeightedLayerSum(nn.Module):
    """Sum of layers with learned softmax weights, initially equal.

    As in ELMo (Peters et al., "Deep contextualized word representations", NAACL 2018), without its global scale, which
    a later layer can learn. SUPERB (Yang et al., Interspeech 2021) uses the same sum for frozen speech networks.

    Raises:
        ConfigError: If ``num_layers`` is less than 1.
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
        """Sum the layers of features of shape (B, num_layers * D, frames), concatenated, to (B, D, frames)."""
        # A matrix product avoids a weighted copy of all layers. In an export, ``unflatten`` would fix the sizes.
        batch, height, _ = features.shape
        layers = features.reshape(batch, len(self.scores), -1)
        return (self.weights @ layers).reshape(batch, height // len(self.scores), -1)


def _masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    return features.masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1)
