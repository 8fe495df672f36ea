"""Pooling of features over time to one vector per clip, excluding padding."""

from typing import Literal

import torch
from torch import Tensor, nn

from crossmodal.naming import look_up
from crossmodal.transforms import length_mask

PoolingName = Literal["attention", "functionals", "last", "mean", "stats"]

_EPS = 1e-5  # keeps the deviation of a single frame, and its gradient, finite


class Pooling(nn.Module):
    """Base class of the poolings. To add one, write a subclass with ``forward`` and add it to the table below.

    Args:
        num_features: Number of features.

    Attributes:
        in_features: Number of features.
        out_features: Width of the result.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.in_features = num_features
        self.out_features = num_features

    def forward(self, features: Tensor, length: Tensor | None = None) -> Tensor:
        """Pool over time.

        Args:
            features: Features of shape (B, num_features, frames).
            length: Number of valid frames of each clip, at least 1, of shape (B,); defaults to all frames.

        Returns:
            One vector per clip, of shape (B, out_features).
        """
        raise NotImplementedError


class MeanPooling(Pooling):
    """Mean over time."""

    def forward(self, features: Tensor, length: Tensor | None = None) -> Tensor:
        """Pool over time; shapes as for `Pooling`."""
        mask = _mask(features, length)
        return _masked_mean(features, mask)


class StatsPooling(Pooling):
    """Mean and standard deviation over time, as in x-vectors (Snyder et al., ICASSP 2018)."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.out_features = 2 * num_features

    def forward(self, features: Tensor, length: Tensor | None = None) -> Tensor:
        """Pool over time; shapes as for `Pooling`."""
        mask = _mask(features, length)
        mean = _masked_mean(features, mask)
        variance = _masked_mean((features - mean[..., None]).square(), mask)
        return torch.cat([mean, (variance + _EPS).sqrt()], dim=1)


class FunctionalsPooling(Pooling):
    """Mean, standard deviation and five quantiles over time: 0.05, 0.25, 0.5, 0.75 and 0.95.

    The quantiles describe the distribution of a feature and are robust to outliers. openSMILE's ComParE set consists of
    such functionals (Schuller et al., Interspeech 2016). A quantile is the value of the nearest frame by rank.
    """

    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.stats = StatsPooling(num_features)
        self.out_features = self.stats.out_features + len(self.quantiles) * num_features

    def forward(self, features: Tensor, length: Tensor | None = None) -> Tensor:
        """Pool over time; shapes as for `Pooling`."""
        if length is None:
            length = torch.full((len(features),), features.shape[-1], device=features.device)
        mask = _mask(features, length)
        ordered = features.masked_fill(~mask, torch.inf).sort(dim=-1).values
        shares = torch.tensor(self.quantiles, device=features.device)
        rank = (shares * (length[:, None] - 1)).round().long()  # (B, quantiles)
        quantiles = ordered.gather(2, rank[:, None].expand(-1, features.shape[1], -1))
        return torch.cat([self.stats(features, length), quantiles.flatten(1)], dim=1)


class AttentionPooling(Pooling):
    """Weighted mean over time with learned weights.

    The score of a frame is ``v . tanh(W x + b)``; the weights are the softmax of the scores over the clip's valid
    frames (Mirsamadi et al., ICASSP 2017).
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        hidden_size = max(num_features // 2, 1)
        self.score = nn.Sequential(
            nn.Conv1d(num_features, hidden_size, kernel_size=1), nn.Tanh(), nn.Conv1d(hidden_size, 1, 1, bias=False)
        )

    def forward(self, features: Tensor, length: Tensor | None = None) -> Tensor:
        """Pool over time; shapes as for `Pooling`."""
        mask = _mask(features, length)
        weight = self.score(features).masked_fill(~mask, -torch.inf).softmax(dim=-1)
        return (features.masked_fill(~mask, 0.0) * weight).sum(dim=-1)


class LastPooling(Pooling):
    """Last valid frame of each clip."""

    def forward(self, features: Tensor, length: Tensor | None = None) -> Tensor:
        """Pool over time; shapes as for `Pooling`."""
        if length is None:
            return features[..., -1]
        last = (length - 1)[:, None, None].expand(-1, features.shape[1], 1)
        return features.gather(2, last).squeeze(2)


_POOLINGS: dict[PoolingName, type[Pooling]] = {
    "attention": AttentionPooling,
    "functionals": FunctionalsPooling,
    "last": LastPooling,
    "mean": MeanPooling,
    "stats": StatsPooling,
}


def create_pooling(name: PoolingName, num_features: int) -> Pooling:
    """Create a pooling by name.

    Args:
        name: Name of the pooling.
        num_features: Number of features.

    Returns:
        The pooling.

    Raises:
        ConfigError: If there is no pooling of that name.

    Example:
        >>> create_pooling("stats", num_features=3)(torch.zeros(2, 3, 10)).shape
        torch.Size([2, 6])
    """
    return look_up("pooling", _POOLINGS, name)(num_features)


def _mask(features: Tensor, length: Tensor | None) -> Tensor:
    """Return a mask of shape (B, 1, frames), False in the padding."""
    batch_size, _, size = features.shape
    if length is None:
        length = torch.full((batch_size,), size, device=features.device)
    return length_mask(length, size)[:, None]


def _masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    return features.masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1)
