"""Means of an epoch's losses, kept aside until the epoch is over."""

from collections.abc import Mapping

import torch
from torch import Tensor


class EpochLosses:
    """Weighted means of named losses.

    Lightning's `log` can average by itself, but a call of it costs a tenth of what a step of a small model does on a
    CPU; so a step only adds up, and each mean is logged once.

    Example:
        >>> losses = EpochLosses()
        >>> losses.add({"loss": torch.tensor(1.0)}, clips=3)
        >>> losses.add({"loss": torch.tensor(5.0)}, clips=1)
        >>> losses.take()
        ({'loss': tensor(2.)}, 4)
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._clips = 0

    def add(self, losses: Mapping[str, Tensor], clips: int) -> None:
        """Add the losses of a batch of so many clips; each is a mean over them."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + clips * value.detach()
        self._clips += clips

    def take(self) -> tuple[dict[str, Tensor], int]:
        """The means so far, and of how many clips; the next epoch starts anew."""
        means, clips = {name: total / self._clips for name, total in self._sums.items()}, self._clips
        self._sums, self._clips = {}, 0
        return means, clips
