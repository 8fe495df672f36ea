"""Means of an epoch's losses, kept aside until the epoch is over."""

from collections.abc import Callable, Mapping
from typing import Any

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

    def state_dict(self) -> dict[str, Any]:
        """The epoch so far; nothing where no batch was added since the last `take`."""
        return {"sums": dict(self._sums), "clips": self._clips} if self._clips else {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on with what `state_dict` gave."""
        self._sums, self._clips = dict(state_dict["sums"]), state_dict["clips"]

    def take(self, reduce: Callable[..., Any] | None = None) -> tuple[dict[str, Tensor], int]:
        """The means so far, and of how many clips; the next epoch starts anew.

        Args:
            reduce: Adds up a tensor of all processes, given ``reduce_op="sum"``, where the clips are divided among
                several: `lightning.pytorch.strategies.Strategy.reduce`.
        """
        sums, clips = self._sums, self._clips
        self._sums, self._clips = {}, 0
        if reduce and sums:
            together = torch.stack([*sums.values(), torch.full_like(next(iter(sums.values())), clips)]).float()
            *totals, number = reduce(together, reduce_op="sum")
            sums, clips = dict(zip(sums, totals, strict=True)), int(number)
        return {name: total / clips for name, total in sums.items()}, clips
