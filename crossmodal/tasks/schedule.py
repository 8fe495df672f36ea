"""Learning rate schedule of all stages."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

_TINY = 1e-6


class OneCycleSchedule(OneCycleLR):
    """One-cycle schedule over the steps of the current training, for any warm-up and number of steps.

    A checkpoint of a shorter training resumes on the longer schedule, and after its end the rates stay the same.
    Torch's class would keep the old length and fail after it; it also divides by zero if the warm-up is exactly one
    step, and rejects the fractions 0 and 1.

    Args:
        optimizer: The optimizer.
        lr: Highest learning rate.
        total_steps: Number of steps of the training.
        warmup: Fraction of the steps in which the learning rate increases, from 0 to 1.
    """

    def __init__(self, optimizer: Optimizer, lr: float, total_steps: int, warmup: float) -> None:
        if warmup * total_steps == 1:
            warmup += _TINY
        warmup = min(max(warmup, _TINY), 1 - _TINY)
        super().__init__(optimizer, lr, total_steps=total_steps, pct_start=warmup)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the position from a checkpoint, and keep the length of the current training."""
        own = {"total_steps": self.total_steps, "_schedule_phases": self._schedule_phases}
        super().load_state_dict({**state_dict, **own})

    def get_lr(self) -> list[Any]:
        """Return the learning rates of the step; after the end, as in trials of a tuner, those of the last step."""
        if self.last_epoch >= self.total_steps:
            return [group["lr"] for group in self.optimizer.param_groups]
        return super().get_lr()
