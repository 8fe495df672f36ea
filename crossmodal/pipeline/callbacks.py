"""Callbacks that make a resumed run identical to an uninterrupted one: history, checkpoints and random numbers."""

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
    """Seed the random numbers of each batch (dropout, flips) by run seed, epoch, batch index and process.

    A run that resumes within an epoch draws the same numbers as an uninterrupted run, and a student draws the same
    numbers as its control.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed torch's generators on every device, differently in each process."""
        step = (self._seed * 1_000_003 + trainer.current_epoch) * 1_000_003 + batch_idx
        seed = (step * 1_009 + trainer.global_rank) % 2**63
        if pl_module.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # 0.1 ms faster than torch.manual_seed, which seeds every backend
        else:
            torch.manual_seed(seed)


class LastCheckpoint(Checkpoint):
    """Save the training state so that an interruption loses one batch at most.

    A checkpoint is written after each epoch, before the last batch of each epoch (so that an interrupted validation
    loses one batch only), and on SIGTERM or Ctrl-C. A signal waits for the end of the batch; a second Ctrl-C does not.

    Checkpoints are written at the end of epochs only if there are several processes, validation within an epoch,
    ``max_steps`` or a foreign sampler.

    Args:
        path: Path of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_unsaved_batches = False  # more than the current batch
        self._signal: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handlers, which save nothing; Lightning restores the old ones after training."""
        handle_stops(self._handle_signal)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Let signals wait for the end of the batch, except in the last batch of the epoch."""
        self._has_unsaved_batches = batch_idx < _last_saved_batch(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the checkpoint if it is due, and stop if a signal has arrived."""
        done = batch_idx + 1
        if not self._has_unsaved_batches or done % trainer.accumulate_grad_batches:
            return
        if self._signal is not None or done == _last_saved_batch(trainer):
            trainer.save_checkpoint(self._path, weights_only=False)
            self._has_unsaved_batches = False
        if self._signal is not None:
            stop_now(self._signal)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the checkpoint."""
        trainer.save_checkpoint(self._path, weights_only=False)

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._has_unsaved_batches or (number == self._signal == signal.SIGINT):
            stop_now(number, frame)
        else:
            self._signal = self._signal or number


def _last_saved_batch(trainer: Trainer) -> int:
    """Return the number of batches after which the last checkpoint within an epoch is saved; 0 for none."""
    loader = trainer.train_dataloader
    batches = trainer.num_training_batches
    is_resumable = trainer.world_size == 1 and trainer.max_steps == -1 and trainer.val_check_batch == batches
    if not is_resumable or not isinstance(getattr(loader, "sampler", None), EpochShuffle):
        return 0
    return (int(batches) - 1) // trainer.accumulate_grad_batches * trainer.accumulate_grad_batches


class History(Callback):
    """Collect the logged metrics of each epoch and the training time; both are stored in checkpoints.

    Attributes:
        rows: One dict of metrics per epoch, including ``epoch``.
        seconds: Training time so far.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.seconds = 0.0
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect the metrics of the epoch."""
        self._update_seconds()
        numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"epoch": float(trainer.current_epoch), **numbers})

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        self._update_seconds()
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.rows, self.seconds = list(state_dict["rows"]), state_dict["seconds"]

    def write_csv(self, path: Path) -> None:
        """Write one row per epoch."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in self.rows)

    def _update_seconds(self) -> None:
        now = time.monotonic()
        if self._started:
            self.seconds += now - self._started
        self._started = now
