"""Fixtures of the inference tests for the commands that use them."""

from tests.inference.conftest import model, model_folder, onnx_folder, recognizer, save, summary
from tests.inference.predict.conftest import folder

__all__ = ("folder", "model", "model_folder", "onnx_folder", "recognizer", "save", "summary")
