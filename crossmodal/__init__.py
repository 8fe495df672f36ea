"""Cross-modal transfer learning for speech emotion recognition: a face model teaches a voice model."""

import importlib
from typing import TYPE_CHECKING, Any

from crossmodal.version import __version__ as __version__

if TYPE_CHECKING:
    from crossmodal.datamodules import AudioDataModule as AudioDataModule
    from crossmodal.datamodules import PairedDataModule as PairedDataModule
    from crossmodal.datamodules import VideoDataModule as VideoDataModule
    from crossmodal.datasets import prepare as prepare
    from crossmodal.inference import EmotionRecognizer as EmotionRecognizer
    from crossmodal.inference import push_to_hub as push_to_hub
    from crossmodal.inference import save_pretrained as save_pretrained
    from crossmodal.models import AudioClassifier as AudioClassifier
    from crossmodal.models import FaceClassifier as FaceClassifier
    from crossmodal.models import FaceEncoder as FaceEncoder
    from crossmodal.pipeline import RunSummary as RunSummary
    from crossmodal.pipeline import fit as fit
    from crossmodal.pipeline import test as test
    from crossmodal.studies import study as study
    from crossmodal.studies.preflight import preflight as preflight
    from crossmodal.tasks import ControlTask as ControlTask
    from crossmodal.tasks import FinetuneTask as FinetuneTask
    from crossmodal.tasks import SupervisedTask as SupervisedTask
    from crossmodal.tasks import TeacherTask as TeacherTask
    from crossmodal.tasks import TransferTask as TransferTask

_NAMES = {
    "datamodules": ("AudioDataModule", "PairedDataModule", "VideoDataModule"),
    "datasets": ("prepare",),
    "inference": ("EmotionRecognizer", "push_to_hub", "save_pretrained"),
    "models": ("AudioClassifier", "FaceClassifier", "FaceEncoder"),
    "pipeline": ("RunSummary", "fit", "test"),
    "studies": ("study",),
    "studies.preflight": ("preflight",),
    "tasks": ("ControlTask", "FinetuneTask", "SupervisedTask", "TeacherTask", "TransferTask"),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}

__all__ = tuple(sorted(_HOME))


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossmodal' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crossmodal.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
