"""What makes a run that was stopped and goes on the same as one that was not: its past, and its random numbers."""

import csv
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from crossmodal.storage import atomic_path

Row = dict[str, float]


class SeedEachEpoch(Callback):
    """Draws each epoch's random numbers (dropout, flips) from the seed and the epoch alone.

    A checkpoint holds no generator's state; and so a student and its control draw the same numbers. The seed is set
    before an epoch's first batch, not at its start: what makes the batches draws a number between the two, but in a run
    that goes on it has drawn it before.

    Args:
        seed: Of the run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed torch's generators, on every device; another number on each process."""
        if batch_idx == 0:
            torch.manual_seed((self._seed * 1_000_003 + trainer.current_epoch) * 1_009 + trainer.global_rank)


class History(Callback):
    """Collects what was logged in each epoch, and the seconds of training; its checkpoints carry both.

    Attributes:
        rows: One dict of numbers for each epoch, ``epoch`` among them.
        seconds: Of training so far.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.seconds = 0.0
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect the epoch's numbers."""
        self._count()
        numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"epoch": float(trainer.current_epoch), **numbers})

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        self._count()
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows, self.seconds = list(state_dict["rows"]), state_dict["seconds"]

    def write_csv(self, path: Path) -> None:
        """Write one row an epoch."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in self.rows)

    def _count(self) -> None:
        now = time.monotonic()
        if self._started:
            self.seconds += now - self._started
        self._started = now
