"""Learning rate schedule of all stages."""

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from crossmodal.errors import ConfigError


class OneCycleSchedule(OneCycleLR):
    """One-cycle schedule over the steps of the current training, also if it resumes a shorter one.

    Torch's class would keep the old length and fail after it. After the end, the rates stay the same. The highest rate
    of each group of parameters is its rate in the optimizer.
    """

    def __init__(self, optimizer: Optimizer, total_steps: float, warmup: float) -> None:
        if not math.isfinite(total_steps):
            raise ConfigError("The learning rate schedule needs max_epochs or max_steps of the Trainer.")
        share = float(warmup) - 1e-6 * (warmup * total_steps == 1)  # a warm-up of one step would divide by zero
        rates = [group["lr"] for group in optimizer.param_groups]
        super().__init__(optimizer, rates, total_steps=max(int(total_steps), 1), pct_start=share)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the position from a checkpoint, and keep the length of the current training."""
        own = {"total_steps": self.total_steps, "_schedule_phases": self._schedule_phases}
        super().load_state_dict(state_dict | own)

    def get_lr(self) -> list[Any]:
        """Return the learning rates of the step; after the end, as in trials of a tuner, those of the last step."""
        if self.last_epoch >= self.total_steps:
            return [group["lr"] for group in self.optimizer.param_groups]
        return super().get_lr()
