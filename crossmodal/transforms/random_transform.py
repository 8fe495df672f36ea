"""What all augmentation has in common: it happens by chance, clip by clip, and in training only."""

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError


class RandomTransform(nn.Module):
    """Base of what is done to some clips of a batch.

    `torch.manual_seed` decides everything: the same seed, the same result. Which clips, and by how much, is drawn on
    the CPU, so that it does not differ between devices. There is neither a parameter nor a buffer: a checkpoint is the
    same with augmentation and without.

    Args:
        p: Probability for each clip, from 0 to 1.

    Raises:
        ConfigError: The probability is none.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        check_number("p", p, 0, 1)
        self.p = p

    def draw_clips(self, batch_size: int) -> Tensor:
        """Draw which clips it is done to: a boolean mask of shape (B,), on the CPU."""
        return torch.rand(batch_size) < self.p

    def extra_repr(self) -> str:
        """Show every setting where the module is printed."""
        settings = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        settings.pop("training")
        return ", ".join(f"{name}={value}" for name, value in settings.items())


def draw_uniform(low: float, high: float, size: int) -> Tensor:
    """Draw numbers from `low` to `high`, of shape (size,), on the CPU."""
    return torch.empty(size).uniform_(low, high)


def check_number(name: str, value: float, low: float, high: float, whole: bool = False) -> None:
    """Refuse a setting that is no number or out of range.

    Args:
        name: Of the setting, for the error.
        value: The setting.
        low: The smallest that can be.
        high: The largest.
        whole: Whether it has to be a whole number.

    Raises:
        ConfigError: It is not so.

    Example:
        >>> check_number("p", 1.5, 0, 1)
        Traceback (most recent call last):
        crossmodal.errors.ConfigError: p must be a number from 0 to 1, got 1.5.
    """
    right_type = isinstance(value, int if whole else (int, float))  # text comes out of YAML such as "1e-1"
    if not right_type or not low <= value <= high:
        raise ConfigError(f"{name} must be a {'whole ' if whole else ''}number from {low} to {high}, got {value!r}.")
