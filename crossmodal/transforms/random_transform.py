"""Base class of random augmentation, which is applied to single clips and in training only."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError

Number = TypeVar("Number", int, float)


class RandomTransform(nn.Module):
    """Base class of transforms that are applied to random clips of a batch, each with probability `p`.

    Results are determined by `torch.manual_seed`. Clips and strengths are drawn on the CPU, so that they do not differ
    between devices. There are no parameters or buffers: checkpoints are the same with and without augmentation. A
    setting that is not a number in its range is a `ConfigError`, here and in all subclasses.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = check_number("p", p, 0, 1)

    def draw_clips(self, batch_size: int) -> Tensor:
        """Draw a boolean mask of the clips to transform, of shape (B,), on the CPU."""
        return torch.rand(batch_size) < self.p


def draw_uniform(low: float, high: float, size: int) -> Tensor:
    """Draw numbers from `low` to `high`, of shape (size,), on the CPU."""
    return torch.empty(size).uniform_(low, high)


def check_number(name: str, value: Number, low: float, high: float, whole: bool = False) -> Number:
    """Return a setting that is a number from `low` to `high`, and whole if required, or raise ConfigError."""
    right_type = isinstance(value, int if whole else (int, float))  # YAML reads "1e-1" as text
    if not right_type or not low <= value <= high:
        raise ConfigError(f"{name} must be a {'whole ' if whole else ''}number from {low} to {high}, got {value!r}.")
    return value
