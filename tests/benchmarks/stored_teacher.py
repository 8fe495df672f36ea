"""A transfer epoch with stored teacher outputs, compared with a live teacher."""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from crossmodal.models import FaceClassifier
from crossmodal.models.handover import save_model
from crossmodal.tasks import TransferTask
from tests.benchmarks.measure import Row, compare, train_epoch

CLIPS, SECONDS = 128, 3.5


def run(folder: Path) -> list[Row]:
    """Use a resnet18 teacher on 8 video frames of 112x112 and the default student on 3.5 s of audio."""
    path = folder / "teacher.safetensors"
    teacher = FaceClassifier(backbone="resnet18", backbone_kwargs={"pretrained": False})
    save_model(teacher, path, train_actors=["01"])
    live, stored = TransferTask(teacher=str(path)), TransferTask()
    faces, outputs = _clips(pixels=True), _clips(pixels=False)
    return [
        compare(
            f"transfer epoch of {CLIPS} clips, resnet18 on 8 x 112x112",
            lambda: train_epoch(live, faces),
            lambda: train_epoch(stored, outputs),
            at_least=10,
        )
    ]


def _clips(pixels: bool) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    samples = int(SECONDS * 16_000)
    items = []
    for label in range(CLIPS):
        waveform = torch.randn(1, samples, generator=generator) * 0.1
        item: dict[str, Any] = {
            "clip": str(label),
            "label": label % 8,
            "waveform": waveform,
            "waveform_length": samples,
        }
        if pixels:
            item["faces"] = torch.randint(0, 256, (8, 3, 112, 112), dtype=torch.uint8, generator=generator)
        else:
            item |= {"teacher_embedding": torch.randn(128, generator=generator)}
            item |= {"teacher_logits": torch.randn(8, generator=generator)}
        items.append(item)
    return DataLoader(items, batch_size=32)  # type: ignore[arg-type]
