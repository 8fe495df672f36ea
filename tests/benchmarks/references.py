"""Reference models without pretrained networks: features per clip and logistic regression."""

from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.evaluation.predictions import Predictions
from crossmodal.progress import progress_bar
from crossmodal.storage import atomic_path

Features = Callable[[NDArray[np.float32]], NDArray[np.float64]]
SAMPLE_RATE = 16000
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of the regression, selected on validation actors


def _compare() -> Features:
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet.ComParE_2016, opensmile.FeatureLevel.Functionals)
    return lambda waveform: np.nan_to_num(smile.process_signal(waveform, SAMPLE_RATE).to_numpy()[0])


def _librosa() -> Features:
    def features(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
        mfcc = librosa.feature.mfcc(y=waveform, sr=SAMPLE_RATE, n_mfcc=40)
        return np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)])

    return features


REFERENCES: dict[str, Callable[[], Features]] = {
    "openSMILE ComParE 2016 + logistic regression": _compare,
    "librosa MFCC mean and deviation + logistic regression": _librosa,
}


def refer(name: str, datamodule: CorpusDataModule, folder: Path) -> Predictions:
    """Return the predictions of a reference for validation and test clips; features are stored in `folder`."""
    table = _table(name, datamodule, folder)
    split = datamodule.split
    labels = {label: index for index, label in enumerate(datamodule.labels)}

    def rows(clips: list[Clip]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return np.stack([table[clip.clip] for clip in clips]), np.array([labels[str(clip.label)] for clip in clips])

    fitted = [_regression(strength).fit(*rows(split["train"])) for strength in STRENGTHS]
    features, target = rows(split["val"])
    best = max(fitted, key=lambda model: balanced_accuracy_score(target, model.predict(features)))
    held_out = [(clip, name) for name in ("val", "test") for clip in split[name]]
    probabilities = best.predict_proba(rows([clip for clip, _ in held_out])[0])
    return Predictions.of_clips(held_out, datamodule.labels, [probabilities])


def _regression(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))


def _table(name: str, datamodule: CorpusDataModule, folder: Path) -> dict[str, NDArray[np.float64]]:
    path = folder / f"{name.split()[0]}.npz"
    stored = dict(np.load(path)) if path.exists() else {}
    missing = [clip for clip in datamodule.clips if clip.clip not in stored]
    if missing:
        features = REFERENCES[name]()
        with progress_bar() as progress:
            for clip in progress.track(missing, description=name):
                waveform: torch.Tensor = next(iter(datamodule.loader([clip])))["waveform"]
                stored[clip.clip] = features(waveform[0, 0].numpy())
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **stored)
    return stored
