"""Inference with a trained model. It imports no training code, and torch only for the torch backend."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossmodal.inference.model_folder import load_model_folder, push_to_hub, save_model_folder, save_pretrained
    from crossmodal.inference.prediction import SILENCE, Prediction, Segment, Timeline, Window
    from crossmodal.inference.recognizer import EmotionRecognizer
    from crossmodal.inference.streaming import EmotionStream

_MODULES = {
    "SILENCE": "prediction",
    "EmotionRecognizer": "recognizer",
    "EmotionStream": "streaming",
    "Prediction": "prediction",
    "Segment": "prediction",
    "Timeline": "prediction",
    "Window": "prediction",
    "load_model_folder": "model_folder",
    "push_to_hub": "model_folder",
    "save_model_folder": "model_folder",
    "save_pretrained": "model_folder",
}

__all__ = (
    "SILENCE",
    "EmotionRecognizer",
    "EmotionStream",
    "Prediction",
    "Segment",
    "Timeline",
    "Window",
    "load_model_folder",
    "push_to_hub",
    "save_model_folder",
    "save_pretrained",
)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'crossmodal.inference' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crossmodal.inference.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
