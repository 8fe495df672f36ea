"""Cross-modal transfer learning for speech emotion recognition: a face model teaches a voice model."""

import importlib
from typing import TYPE_CHECKING, Any

from crossmodal.version import __version__ as __version__

if TYPE_CHECKING:
    from crossmodal.datamodules import AudioDataModule, PairedDataModule, VideoDataModule
    from crossmodal.datasets import prepare
    from crossmodal.inference import EmotionRecognizer, push_to_hub, save_pretrained
    from crossmodal.models import AudioClassifier, FaceClassifier, FaceEncoder
    from crossmodal.pipeline import RunSummary, fit, test
    from crossmodal.studies import study
    from crossmodal.studies.preflight import preflight
    from crossmodal.tasks import ControlTask, FinetuneTask, TeacherTask, TransferTask

_NAMES = {
    "datamodules": ("AudioDataModule", "PairedDataModule", "VideoDataModule"),
    "datasets": ("prepare",),
    "inference": ("EmotionRecognizer", "push_to_hub", "save_pretrained"),
    "models": ("AudioClassifier", "FaceClassifier", "FaceEncoder"),
    "pipeline": ("RunSummary", "fit", "test"),
    "studies": ("study",),
    "studies.preflight": ("preflight",),
    "tasks": ("ControlTask", "FinetuneTask", "TeacherTask", "TransferTask"),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}

__all__ = (
    "AudioClassifier",
    "AudioDataModule",
    "ControlTask",
    "EmotionRecognizer",
    "FaceClassifier",
    "FaceEncoder",
    "FinetuneTask",
    "PairedDataModule",
    "RunSummary",
    "TeacherTask",
    "TransferTask",
    "VideoDataModule",
    "fit",
    "preflight",
    "prepare",
    "push_to_hub",
    "save_pretrained",
    "study",
    "test",
)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossmodal' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crossmodal.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
