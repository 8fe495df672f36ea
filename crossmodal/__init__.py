"""Cross-modal transfer learning for speech emotion recognition: a face model teaches a voice model."""

import importlib
from typing import TYPE_CHECKING, Any

from crossmodal.version import __version__ as __version__

if TYPE_CHECKING:
    from crossmodal.datamodules import AudioDataModule, PairedDataModule, VideoDataModule
    from crossmodal.inference import EmotionRecognizer, push_to_hub, save_pretrained
    from crossmodal.models import AudioClassifier, FaceClassifier, FaceEncoder
    from crossmodal.pipeline import fit
    from crossmodal.tasks import ControlTask, FinetuneTask, TeacherTask, TransferTask

_HOME = {
    "AudioClassifier": "models",
    "AudioDataModule": "datamodules",
    "ControlTask": "tasks",
    "EmotionRecognizer": "inference",
    "FaceClassifier": "models",
    "FaceEncoder": "models",
    "FinetuneTask": "tasks",
    "PairedDataModule": "datamodules",
    "TeacherTask": "tasks",
    "TransferTask": "tasks",
    "VideoDataModule": "datamodules",
    "fit": "pipeline",
    "push_to_hub": "inference",
    "save_pretrained": "inference",
}

__all__ = (
    "AudioClassifier",
    "AudioDataModule",
    "ControlTask",
    "EmotionRecognizer",
    "FaceClassifier",
    "FaceEncoder",
    "FinetuneTask",
    "PairedDataModule",
    "TeacherTask",
    "TransferTask",
    "VideoDataModule",
    "fit",
    "push_to_hub",
    "save_pretrained",
)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossmodal' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crossmodal.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
