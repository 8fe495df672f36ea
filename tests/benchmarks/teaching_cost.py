"""An epoch of transfer with stored teacher outputs, compared with fine-tuning the same model alone."""

import statistics
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from crossmodal.datamodules import collate_clips
from crossmodal.models import list_audio_encoders
from crossmodal.tasks import FinetuneTask, TransferTask
from tests.benchmarks.measure import Row, seconds, train_epoch

CLIPS, SAMPLES, BATCH = 320, 59200, 32
RUNS = 5
PROMISE = 1.15


def run(folder: Path) -> list[Row]:
    """Measure each encoder as in `fit`, with cached features and the default losses."""
    generator = torch.Generator().manual_seed(0)
    items = [
        {
            "clip": str(number),
            "label": number % 8,
            "waveform": 0.1 * torch.randn(SAMPLES, generator=generator),
            "teacher_embedding": torch.randn(128, generator=generator),
            "teacher_logits": torch.randn(8, generator=generator),
        }
        for number in range(CLIPS)
    ]
    loader = DataLoader(items, batch_size=BATCH, collate_fn=collate_clips)  # type: ignore[arg-type]
    return [_row(encoder, loader) for encoder in list_audio_encoders()]


def _row(encoder: str, loader: DataLoader[Any]) -> Row:
    alone, taught = FinetuneTask(encoder=encoder), TransferTask(encoder=encoder)
    for task in (alone, taught):
        train_epoch(task, loader)  # fills the feature cache
    times = [
        (seconds(lambda: train_epoch(alone, loader)), seconds(lambda: train_epoch(taught, loader))) for _ in range(RUNS)
    ]
    finetune, transfer = (statistics.median(column) for column in zip(*times, strict=True))
    return Row(f"epoch of {encoder}: fine-tuning, and transfer", f"{finetune:.2f} s", f"{transfer:.2f} s",
               finetune / transfer, f"at least {1 / PROMISE:.2f}", transfer <= PROMISE * finetune)  # fmt: skip
