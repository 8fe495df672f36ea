"""Base class of random augmentation, which is applied to single clips and in training only."""

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError


class RandomTransform(nn.Module):
    """Base class of transforms that are applied to random clips of a batch.

    Results are determined by `torch.manual_seed`. The clips and the strengths are drawn on the CPU, so that they do not
    differ between devices. There are no parameters or buffers: checkpoints are the same with and without augmentation.

    Args:
        p: Probability for each clip, from 0 to 1.

    Raises:
        ConfigError: If `p` is not from 0 to 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        check_number("p", p, 0, 1)
        self.p = p

    def draw_clips(self, batch_size: int) -> Tensor:
        """Draw a boolean mask of the clips to transform, of shape (B,), on the CPU."""
        return torch.rand(batch_size) < self.p

    def extra_repr(self) -> str:
        """Return all settings for the printed representation."""
        settings = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        settings.pop("training")
        return ", ".join(f"{name}={value}" for name, value in settings.items())


def draw_uniform(low: float, high: float, size: int) -> Tensor:
    """Draw numbers from `low` to `high`, of shape (size,), on the CPU."""
    return torch.empty(size).uniform_(low, high)


def check_number(name: str, value: float, low: float, high: float, whole: bool = False) -> None:
    """Check that a setting is a number in a range.

    Args:
        name: Name of the setting, for the error message.
        value: Value of the setting.
        low: Lowest allowed value.
        high: Highest allowed value.
        whole: Whether the value has to be a whole number.

    Raises:
        ConfigError: If the value is not a number or out of range.

    Example:
        >>> check_number("p", 1.5, 0, 1)
        Traceback (most recent call last):
        crossmodal.errors.ConfigError: p must be a number from 0 to 1, got 1.5.
    """
    right_type = isinstance(value, int if whole else (int, float))  # YAML reads "1e-1" as text
    if not right_type or not low <= value <= high:
        raise ConfigError(f"{name} must be a {'whole ' if whole else ''}number from {low} to {high}, got {value!r}.")
