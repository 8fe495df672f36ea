"""Callbacks that make a resumed run identical to an uninterrupted one: history and random numbers."""

import csv
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from crossmodal.errors import FolderInUseError
from crossmodal.stopping import handle_stops, stop_now
from crossmodal.storage import atomic_path

Row = dict[str, float]


class SeedEachBatch(Callback):
    """Seed the random numbers of each batch (dropout, flips) by run seed, epoch, batch index and process.

    A resumed run draws the same numbers as an uninterrupted one, and a student draws the same as its control.
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


class StopAtOnce(Callback):
    """Let SIGTERM and Ctrl-C stop training at once.

    Lightning's own handler of SIGTERM waits for the other processes, which may be waiting for this one.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handlers; Lightning restores the previous ones after training."""
        handle_stops(stop_now)


class EpochBar(RichProgressBar):
    """Progress bar with epochs counted from 1."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}".ljust(len(self.validation_description))


class ProgressLines(Callback):
    """Print some ten lines with the validation UAR, for a log that is no terminal."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch, if it is due."""
        epoch, last = trainer.current_epoch + 1, trainer.max_epochs or 1
        uar = trainer.callback_metrics.get(str(pl_module.monitor))
        if trainer.is_global_zero and (epoch % -(-last // 10) == 0 or epoch == last):
            print(f"{pl_module.stage}: epoch {epoch}/{last}{'' if uar is None else f', UAR {uar:.3f}'}", flush=True)


class History(Callback):
    """Collect the logged metrics of each epoch and the training time; stored in checkpoints with the stage's key."""

    def __init__(self, key: str = "") -> None:
        self.key = key
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
        return {"rows": self.rows, "seconds": self.seconds, "key": self.key}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state from a checkpoint; raise FolderInUseError if it has another key."""
        if state_dict.get("key", "") != self.key:
            raise FolderInUseError(
                "The folder has a checkpoint of a run with other settings. Runs at the same time need different names "
                "(--name NAME). Rerun the command with another name."
            )
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
