"""Timing of benchmarks: run baseline and our code in turn several times, and compare the medians."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from crossmodal.datamodules import collate_clips

Run = Callable[[], object]
RATE, SAMPLES, BATCH = 16_000, 59_200, 32  # 3.7 s, the mean of RAVDESS's speech clips


@dataclass(frozen=True)
class Row:
    """A row of the table: baseline, our result, their ratio and the goal."""

    what: str
    baseline: str
    ours: str
    ratio: float
    goal: str
    reached: bool


def seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(what: str, baseline: Run, ours: Run, at_least: float, runs: int = 3) -> Row:
    """Time both in turn, so that noise affects both."""
    ours()  # warm-up: page cache, lazy imports
    times = [(seconds(baseline), seconds(ours)) for _ in range(runs)]
    slow, fast = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = slow / fast
    return Row(what, f"{slow:.2f} s", f"{fast:.3f} s", ratio, f"at least {at_least:.2g} times", ratio >= at_least)


def compare_memory(what: str, module: str, folders: dict[int, Path]) -> Row:
    """Compare the peak memory that a module prints in MB for each number of clips, in processes of their own."""
    commands = [[sys.executable, "-m", module, str(folder), str(clips)] for clips, folder in folders.items()]
    outputs = [subprocess.run(one, check=True, capture_output=True, text=True).stdout for one in commands]
    small, large = (float(output.split()[-1]) for output in outputs)
    few, many = folders
    return Row(f"peak memory of {what}, {few} to {many:,} clips", f"{small:.0f} MB", f"{large:.0f} MB", large / small,
               "at most 1.1 times", large <= 1.1 * small)  # fmt: skip


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def noise_loader(clips: int, more: Callable[[torch.Generator], dict[str, Any]] = lambda _: {}) -> DataLoader[Any]:
    """Return batches of noise with labels, and with what `more` draws for each clip."""
    generator = torch.Generator().manual_seed(0)
    items = [
        {"clip": str(number), "label": number % 8, "waveform": 0.1 * torch.randn(SAMPLES, generator=generator)}
        | more(generator)
        for number in range(clips)
    ]
    return DataLoader(items, batch_size=BATCH, collate_fn=collate_clips)  # type: ignore[arg-type]


def draw_teacher_outputs(generator: torch.Generator) -> dict[str, Any]:
    widths = {"teacher_embedding": 128, "teacher_logits": 8}
    return {name: torch.randn(width, generator=generator) for name, width in widths.items()}


def train_epoch(task: LightningModule, loader: DataLoader[Any]) -> None:
    """Train one epoch on the CPU like `fit`, without output files or logs."""
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=1, accelerator="cpu", gradient_clip_val=1.0, enable_model_summary=False, **quiet)
    trainer.fit(task, loader)
