"""A transfer epoch with stored teacher outputs, compared with a live teacher."""

from pathlib import Path

import torch

from crossmodal.models import FaceClassifier
from crossmodal.models.serialization import save_model
from crossmodal.tasks import TransferTask
from tests.benchmarks.measure import Row, compare, draw_teacher_outputs, noise_loader, train_epoch

CLIPS = 128


def run(folder: Path) -> list[Row]:
    """Use a resnet18 teacher on 8 video frames of 112x112 and the default student."""
    path = folder / "teacher.safetensors"
    teacher = FaceClassifier(backbone="resnet18", backbone_kwargs={"pretrained": False})
    save_model(teacher, path, train_actors=["01"])
    live, stored = TransferTask(teacher=str(path)), TransferTask()
    faces, outputs = noise_loader(CLIPS, _draw_faces), noise_loader(CLIPS, draw_teacher_outputs)
    what = f"transfer epoch of {CLIPS} clips, resnet18 on 8 x 112x112"
    return [compare(what, lambda: train_epoch(live, faces), lambda: train_epoch(stored, outputs), at_least=10)]


def _draw_faces(generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {"faces": torch.randint(0, 256, (8, 3, 112, 112), dtype=torch.uint8, generator=generator)}
