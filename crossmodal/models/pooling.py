"""From features over time to one vector per clip. Padding has no part in it."""

from typing import Literal

import torch
from torch import Tensor, nn

from crossmodal.naming import look_up
from crossmodal.transforms import length_mask

PoolingName = Literal["attention", "functionals", "last", "mean", "stats"]

_EPS = 1e-5  # under the root, so that the deviation of a single frame is no NaN and has a gradient


class Pooling(nn.Module):
    """Base of the poolings; a new one is a subclass with ``forward`` and a line in the table below.

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
            length: How many frames of each clip are its own, at least 1, of shape (B,); all if not given.

        Returns:
            One vector per clip, of shape (B, out_features).
        """
        raise NotImplementedError


class MeanPooling(Pooling):
    """The mean over time."""

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

    The quantiles say how a feature is distributed, whatever a few outliers do: functionals of this kind are what
    openSMILE's ComParE set is made of (Schuller et al., Interspeech 2016). A quantile is the frame nearest to it.
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
    """A mean over time whose weights are learned: frames that tell more count more.

    The score of a frame is ``v . tanh(W x + b)``, and a softmax over the clip's own frames makes weights of the scores
    (Mirsamadi et al., ICASSP 2017).
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
    """The clip's last frame."""

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
    """Make a pooling by its name.

    Args:
        name: Name of the pooling.
        num_features: Number of features.

    Returns:
        The pooling.

    Raises:
        ConfigError: There is none of that name.

    Example:
        >>> create_pooling("stats", num_features=3)(torch.zeros(2, 3, 10)).shape
        torch.Size([2, 6])
    """
    return look_up("pooling", _POOLINGS, name)(num_features)


def _mask(features: Tensor, length: Tensor | None) -> Tensor:
    """Mask of shape (B, 1, frames), true where the clip is."""
    batch_size, _, size = features.shape
    if length is None:
        length = torch.full((batch_size,), size, device=features.device)
    return length_mask(length, size)[:, None]


def _masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    return features.masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1)
