"""A training epoch of each voice model, compared with a plain PyTorch loop."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from crossmodal.models import AudioClassifier, list_audio_encoders
from crossmodal.tasks import ControlTask
from tests.benchmarks.measure import Row, compare, noise_loader, train_epoch


def run(folder: Path) -> list[Row]:
    loader = noise_loader(320)
    return [_row(encoder, loader) for encoder in list_audio_encoders()]


def _row(encoder: str, loader: DataLoader[Any]) -> Row:
    model, task = AudioClassifier(encoder=encoder), ControlTask(encoder=encoder)
    by_hand, ours = lambda: _by_hand(model, loader), lambda: train_epoch(task, loader)
    return compare(f"epoch of {encoder}, compared with a plain loop", by_hand, ours, at_least=1 / 1.15)


def _by_hand(model: AudioClassifier, loader: DataLoader[Any]) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for batch in loader:
        loss = F.cross_entropy(model(batch["waveform"], batch["waveform_length"]), batch["label"], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
