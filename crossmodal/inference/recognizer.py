"""A finished voice model, ready to listen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.errors import MediaError, ModelFolderError, WeightsError
from crossmodal.inference.model_folder import load_model_folder
from crossmodal.models import AudioClassifier, SelfSupervisedFrontEnd


@dataclass(frozen=True)
class Prediction:
    """What a model hears in one recording.

    Args:
        label: The likeliest emotion.
        probabilities: Of every emotion; they sum to one.
    """

    label: str
    probabilities: dict[str, float]

    @property
    def score(self) -> float:
        """The probability of `label`."""
        return self.probabilities[self.label]


class EmotionRecognizer:
    """Recognise the emotion of a voice.

    Args:
        model: The voice model.
        labels: Its emotions, in the order of its logits.
        config: What its model folder says of it.
    """

    def __init__(self, model: AudioClassifier, labels: tuple[str, ...], config: Mapping[str, Any]) -> None:
        self.model = model.eval()
        self.labels = labels
        self.config = dict(config)
        self.sample_rate: int = model.config["sample_rate"]

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "EmotionRecognizer":
        """Load a model folder, such as ``runs/fit/model``.

        Raises:
            ModelFolderError: It is incomplete, damaged or of another make.
        """
        loaded = load_model_folder(folder)
        labels = tuple(loaded.config["labels"])
        if len(labels) != loaded.model.config["num_classes"]:
            raise ModelFolderError(
                f"{folder} names {len(labels)} labels for {loaded.model.config['num_classes']} classes."
            )
        if isinstance(loaded.model.front_end, SelfSupervisedFrontEnd):
            _load_front_end(loaded.model.front_end, folder)
        return cls(loaded.model, labels, loaded.config)

    @torch.inference_mode()
    def __call__(self, recording: str | Path | NDArray[np.floating[Any]], sample_rate: int | None = None) -> Prediction:
        """Listen to one recording.

        Args:
            recording: A sound file, a video file with sound, or samples of shape (T,) or (channels, T) in [-1, 1].
            sample_rate: Of samples, in Hz; the model's own if not given. A file says its own.

        Raises:
            MediaError: The file cannot be decoded, or the samples are none or not finite.
        """
        if isinstance(recording, str | Path):
            waveform = media.read_waveform(Path(recording), self.sample_rate)
        else:
            waveform = self._from_samples(recording, sample_rate or self.sample_rate)
        logits = self.model(torch.from_numpy(waveform).view(1, 1, -1))
        probabilities = logits.double().softmax(dim=-1)[0].tolist()
        by_label = dict(zip(self.labels, probabilities, strict=True))
        return Prediction(max(by_label, key=by_label.__getitem__), by_label)

    def _from_samples(self, samples: NDArray[np.floating[Any]], sample_rate: int) -> NDArray[np.float32]:
        samples = np.asarray(samples, np.float32)
        if samples.ndim == 2:
            samples = samples.mean(axis=0)
        if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
            raise MediaError("samples", "expected finite samples of shape (T,) or (channels, T), T at least 1")
        if sample_rate != self.sample_rate:
            samples = soxr.resample(samples, sample_rate, self.sample_rate)
        return np.ascontiguousarray(samples, np.float32)


def _load_front_end(front_end: SelfSupervisedFrontEnd, folder: str | Path) -> None:
    """Load the network that listens now: the first recording should not wait for it, nor meet damaged weights."""
    try:
        front_end.load()
    except WeightsError as error:
        raise ModelFolderError(f"The model in {folder} cannot be rebuilt: {error}") from error
