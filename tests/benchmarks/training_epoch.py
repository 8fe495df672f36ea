"""A training epoch of each voice model, compared with a plain PyTorch loop."""

import statistics
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from crossmodal.datamodules import collate_clips
from crossmodal.models import AudioClassifier, list_audio_encoders
from crossmodal.tasks import ControlTask
from tests.benchmarks.measure import Row, seconds, train_epoch

CLIPS, SAMPLES, BATCH = 320, 59200, 32
RUNS = 3
PROMISE = 1.15


def run(folder: Path) -> list[Row]:
    """Measure each encoder without and with the task's feature cache."""
    loader = _loader()
    return [row for encoder in list_audio_encoders() for row in _rows(encoder, loader)]


def _rows(encoder: str, loader: DataLoader[Any]) -> list[Row]:
    model = AudioClassifier(encoder=encoder)  # type: ignore[arg-type]
    live, remembering = ControlTask(encoder=encoder), ControlTask(encoder=encoder)
    live._memory = None
    train_epoch(remembering, loader)  # fills the feature cache
    times = [
        (
            seconds(lambda: _by_hand(model, loader)),
            seconds(lambda: train_epoch(live, loader)),
            seconds(lambda: train_epoch(remembering, loader)),
        )
        for _ in range(RUNS)
    ]
    hand, ours, remembered = (statistics.median(column) for column in zip(*times, strict=True))
    return [
        Row(f"epoch of {encoder}, without feature cache", f"{hand:.2f} s", f"{ours:.2f} s", hand / ours,
            f"at least {1 / PROMISE:.2f}", ours <= PROMISE * hand),
        Row(f"epoch of {encoder}, with feature cache", f"{hand:.2f} s", f"{remembered:.2f} s", hand / remembered,
            f"at least {1 / PROMISE:.2f}", remembered <= PROMISE * hand),
    ]  # fmt: skip


def _loader() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    items = [
        {"clip": str(number), "label": number % 8, "waveform": 0.1 * torch.randn(SAMPLES, generator=generator)}
        for number in range(CLIPS)
    ]
    return DataLoader(items, batch_size=BATCH, collate_fn=collate_clips)  # type: ignore[arg-type]


def _by_hand(model: AudioClassifier, loader: DataLoader[Any]) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for batch in loader:
        loss = F.cross_entropy(model(batch["waveform"], batch["waveform_length"]), batch["label"], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
