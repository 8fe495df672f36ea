"""What needs a finished model only: it imports nothing of the training half."""

from crossmodal.inference.model_folder import load_model_folder, save_model_folder
from crossmodal.inference.recognizer import EmotionRecognizer, Prediction

__all__ = ("EmotionRecognizer", "Prediction", "load_model_folder", "save_model_folder")
