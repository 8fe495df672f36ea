"""An epoch of transfer with stored teacher outputs, compared with fine-tuning the same model alone."""

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from crossmodal.models import list_audio_encoders
from crossmodal.tasks import FinetuneTask, TransferTask
from tests.benchmarks.measure import Row, compare, draw_teacher_outputs, noise_loader, train_epoch


def run(folder: Path) -> list[Row]:
    """Measure each encoder on 320 clips, as in `fit` with the default losses."""
    loader = noise_loader(320, draw_teacher_outputs)
    return [_row(encoder, loader) for encoder in list_audio_encoders()]


def _row(encoder: str, loader: DataLoader[Any]) -> Row:
    alone, taught = FinetuneTask(encoder=encoder), TransferTask(encoder=encoder)
    finetune, transfer = lambda: train_epoch(alone, loader), lambda: train_epoch(taught, loader)
    finetune()  # warm-up
    return compare(f"epoch of {encoder}: fine-tuning, and transfer", finetune, transfer, at_least=1 / 1.15)
