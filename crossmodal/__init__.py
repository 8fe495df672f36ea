"""Cross-modal transfer learning for speech emotion recognition: a face model teaches a voice model.

Public names are loaded lazily, so that ``import crossmodal`` is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

from crossmodal.version import __version__ as __version__

if TYPE_CHECKING:
    from crossmodal.datamodules import (
        ManifestAudioDataModule,
        ManifestPairedDataModule,
        ManifestVideoDataModule,
        RAVDESSAudioDataModule,
        RAVDESSPairedDataModule,
        RAVDESSVideoDataModule,
        StreamingPairedDataModule,
    )
    from crossmodal.inference import EmotionRecognizer
    from crossmodal.models import AudioClassifier, FaceClassifier, FaceEncoder
    from crossmodal.pipeline import fit
    from crossmodal.tasks import ControlTask, FinetuneTask, TeacherTask, TransferTask

_HOME = {
    "AudioClassifier": "models",
    "ControlTask": "tasks",
    "EmotionRecognizer": "inference",
    "FaceClassifier": "models",
    "FaceEncoder": "models",
    "FinetuneTask": "tasks",
    "ManifestAudioDataModule": "datamodules",
    "ManifestPairedDataModule": "datamodules",
    "ManifestVideoDataModule": "datamodules",
    "RAVDESSAudioDataModule": "datamodules",
    "RAVDESSPairedDataModule": "datamodules",
    "RAVDESSVideoDataModule": "datamodules",
    "StreamingPairedDataModule": "datamodules",
    "TeacherTask": "tasks",
    "TransferTask": "tasks",
    "fit": "pipeline",
}

__all__ = (
    "AudioClassifier",
    "ControlTask",
    "EmotionRecognizer",
    "FaceClassifier",
    "FaceEncoder",
    "FinetuneTask",
    "ManifestAudioDataModule",
    "ManifestPairedDataModule",
    "ManifestVideoDataModule",
    "RAVDESSAudioDataModule",
    "RAVDESSPairedDataModule",
    "RAVDESSVideoDataModule",
    "StreamingPairedDataModule",
    "TeacherTask",
    "TransferTask",
    "fit",
)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossmodal' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crossmodal.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
