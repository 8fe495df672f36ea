import shutil

import pytest
import torch

from crossmodal.inference import EmotionRecognizer, save_model_folder
from crossmodal.inference.export import export_model
from crossmodal.models import AudioClassifier
from crossmodal.models.serialization import save_model

LABELS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]


@pytest.fixture(scope="session")
def summary() -> dict:
    return {
        "corpus": {
            **{"kind": "ravdess", "root": "somewhere", "clips": {"train": 30, "val": 20, "test": 10}},
            "actors": {"train": ["09", "10"], "val": ["05", "06"], "test": ["01", "02"]},
        },
        **{"protocol": "seq6", "fold": 0, "channel": "speech", "speaker_dependent": False},
        **{"label_set": "speech8", "labels": LABELS},
        "stages": {"finetune": {"test_uar": 0.512, "test_uar_ci95": [0.41, 0.6], "test_war": 0.534}},
        "gain": {"uar_pp": 2.5, "ci95_pp": [-1.0, 6.0]},
    }


@pytest.fixture(scope="session")
def model() -> AudioClassifier:
    torch.manual_seed(0)
    model = AudioClassifier("mfcc", "dense", embedding_size=16, encoder_kwargs={"hidden_size": 32}).eval()
    model.head[-1].weight.data *= 4  # confident predictions that differ between sounds
    return model


@pytest.fixture(scope="session")
def save(model, summary, tmp_path_factory):
    """Return a function that saves the model, or another one, as a model folder."""

    def save_folder(folder=None, model=model, **changes):
        trained = tmp_path_factory.mktemp("trained") / "model.safetensors"
        save_model(model, trained)
        return save_model_folder(trained, folder or trained.parent / "model", summary | changes)

    return save_folder


@pytest.fixture(scope="session")
def model_folder(save):
    return save()


@pytest.fixture(scope="session")
def recognizer(model_folder) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(model_folder)


@pytest.fixture(scope="session")
def onnx_folder(model_folder, tmp_path_factory):
    """Return a folder with the exported model and without torch weights."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_model(model_folder, folder, int8=True)
    return folder


@pytest.fixture
def copy(model_folder, tmp_path):
    """Return a copy of the model folder that a test may damage."""
    return shutil.copytree(model_folder, tmp_path / "copy")
