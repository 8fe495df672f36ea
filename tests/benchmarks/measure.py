"""How a benchmark measures: the same thing both ways, in turn, several times, medians, and their ratio."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader


@dataclass(frozen=True)
class Row:
    """One line of the table: what a user would otherwise do, what we do, how many times faster, and what we promise."""

    what: str
    otherwise: str
    ours: str
    ratio: float
    promise: str
    kept: bool


def seconds(run: Callable[[], None]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(what: str, otherwise: Callable[[], None], ours: Callable[[], None], at_least: float, runs: int = 3) -> Row:
    """Time both in turn, so that a noisy neighbour disturbs both."""
    ours()  # warm: page cache, lazy imports
    times = [(seconds(otherwise), seconds(ours)) for _ in range(runs)]
    slow, fast = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = slow / fast
    return Row(what, f"{slow:.2f} s", f"{fast:.3f} s", ratio, f"at least {at_least:g} times", ratio >= at_least)


def train_epoch(task: LightningModule, loader: DataLoader[Any]) -> None:
    """One epoch on a CPU, as `fit` trains, of which nothing is kept or shown."""
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
