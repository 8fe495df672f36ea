"""Models of the inference tests, for the applications that serve them."""

from tests.inference.conftest import model, model_folder, recognizer, save, summary

__all__ = ("model", "model_folder", "recognizer", "save", "summary")
