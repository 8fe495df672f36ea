"""Timing of benchmarks: run baseline and our code in turn several times, and compare the medians."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader


@dataclass(frozen=True)
class Row:
    """A row of the table: baseline, our result, their ratio and the goal."""

    what: str
    otherwise: str
    ours: str
    ratio: float
    promise: str
    kept: bool


def seconds(run: Callable[[], None]) -> float:
    """Return the wall time of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(what: str, otherwise: Callable[[], None], ours: Callable[[], None], at_least: float, runs: int = 3) -> Row:
    """Time both in turn, so that noise affects both."""
    ours()  # warm-up: page cache, lazy imports
    times = [(seconds(otherwise), seconds(ours)) for _ in range(runs)]
    slow, fast = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = slow / fast
    return Row(what, f"{slow:.2f} s", f"{fast:.3f} s", ratio, f"at least {at_least:g} times", ratio >= at_least)


def train_epoch(task: LightningModule, loader: DataLoader[Any]) -> None:
    """Train one epoch on the CPU like `fit`, without output files or logs."""
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, loader)
