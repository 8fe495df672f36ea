"""Inference with a trained model. It imports no training code, and torch only for the torch backend."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossmodal.inference.model_folder import load_model_folder as load_model_folder
    from crossmodal.inference.model_folder import push_to_hub as push_to_hub
    from crossmodal.inference.model_folder import save_model_folder as save_model_folder
    from crossmodal.inference.model_folder import save_pretrained as save_pretrained
    from crossmodal.inference.prediction import SILENCE as SILENCE
    from crossmodal.inference.prediction import Prediction as Prediction
    from crossmodal.inference.prediction import Segment as Segment
    from crossmodal.inference.prediction import Timeline as Timeline
    from crossmodal.inference.prediction import Window as Window
    from crossmodal.inference.recognizer import EmotionRecognizer as EmotionRecognizer
    from crossmodal.inference.streaming import EmotionStream as EmotionStream

_NAMES = {
    "model_folder": ("load_model_folder", "push_to_hub", "save_model_folder", "save_pretrained"),
    "prediction": ("SILENCE", "Prediction", "Segment", "Timeline", "Window"),
    "recognizer": ("EmotionRecognizer",),
    "streaming": ("EmotionStream",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = tuple(sorted(_MODULES))


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'crossmodal.inference' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crossmodal.inference.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
