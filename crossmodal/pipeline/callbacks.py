"""What makes a run that was stopped and goes on the same as one that was not: its past, and its random numbers."""

import csv
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from crossmodal.datamodules.clip_dataset import EpochShuffle
from crossmodal.stopping import handle_stops, stop_now
from crossmodal.storage import atomic_path

Row = dict[str, float]


class SeedEachBatch(Callback):
    """Draws each batch's random numbers (dropout, flips) from the seed, the epoch and the batch alone.

    So a run that goes on in the middle of an epoch draws what it would have drawn, on each device and in each process,
    and a student and its control draw the same numbers.

    Args:
        seed: Of the run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed torch's generators, on every device; another number on each process."""
        place = (self._seed * 1_000_003 + trainer.current_epoch) * 1_000_003 + batch_idx
        seed = (place * 1_009 + trainer.global_rank) % 2**63
        if pl_module.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # 0.1 ms less than torch's seeding of all that there might be
        else:
            torch.manual_seed(seed)


class LastState(Checkpoint):
    """Keeps on the disk where training is, so that who stops it loses one batch at most.

    It is written after each epoch, before the last batch of each (so validation may be stopped at any moment), and when
    SIGTERM or Ctrl-C asks the process to stop: that waits for the batch to end, and a second Ctrl-C does not.

    Several processes, validation within an epoch, a number of steps in place of epochs or somebody else's order of the
    clips leave the ends of epochs.

    Args:
        path: The checkpoint's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_ahead = False  # of what is written, by more than a batch
        self._asked_by: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hear the signals in place of Lightning, which saves nothing, and gives them back when training ends."""
        handle_stops(self._hear)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """From here on a signal waits, unless this is the last batch."""
        self._is_ahead = batch_idx < _last_place(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the state where it is time to; stop where that was asked for."""
        done = batch_idx + 1
        if not self._is_ahead or done % trainer.accumulate_grad_batches:
            return
        if self._asked_by is not None or done == _last_place(trainer):
            trainer.save_checkpoint(self._path, weights_only=False)
            self._is_ahead = False
        if self._asked_by is not None:
            stop_now(self._asked_by)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the state."""
        trainer.save_checkpoint(self._path, weights_only=False)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self._is_ahead or (number == self._asked_by == signal.SIGINT):
            stop_now(number, frame)
        else:
            self._asked_by = self._asked_by or number


def _last_place(trainer: Trainer) -> int:
    """After how many batches the state is the last that can be written within an epoch; 0 where there is none."""
    loader = trainer.train_dataloader
    batches = trainer.num_training_batches
    whole = trainer.world_size == 1 and trainer.max_steps == -1 and trainer.val_check_batch == batches
    if not whole or not isinstance(getattr(loader, "sampler", None), EpochShuffle):
        return 0
    return (int(batches) - 1) // trainer.accumulate_grad_batches * trainer.accumulate_grad_batches


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
