"""Accumulation of the losses of an epoch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


class LossAccumulator:
    """Weighted means of named losses, each logged once per epoch.

    Lightning's `log` can average too, but one call takes a tenth of the time of a step of a small model on a CPU.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._clips = 0

    def add(self, losses: Mapping[str, Tensor], clips: int) -> None:
        """Add the losses of a batch; each is a mean over its `clips` clips."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + clips * value.detach()
        self._clips += clips

    def take(self, reduce: Callable[..., Any] | None = None) -> tuple[dict[str, Tensor], int]:
        """Return the means and the number of clips, over all processes with a strategy's `reduce`, and reset."""
        sums, clips = self._sums, self._clips
        self._sums, self._clips = {}, 0
        if reduce and sums:
            values = torch.stack([*sums.values(), torch.full_like(next(iter(sums.values())), clips)]).float()
            *totals, number = reduce(values, reduce_op="sum")
            sums, clips = dict(zip(sums, totals, strict=True)), int(number)
        return {name: total / clips for name, total in sums.items()}, clips
