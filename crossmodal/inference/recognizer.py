"""Inference with a trained voice model. Importing this module does not import torch."""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import HubError, MissingExtraError, ModelFolderError
from crossmodal.inference.model_config import ONNX, read_config, warning_of
from crossmodal.inference.prediction import SILENT, Prediction, Timeline
from crossmodal.inference.recording import LONGEST, Recording, check_rate, is_silent, open_recording, read_recording
from crossmodal.inference.streaming import EmotionStream
from crossmodal.inference.timeline import make_timeline
from crossmodal.own_code import trusting

Backend = Literal["torch", "onnx", "int8"]
BackendChoice = Literal["auto", "torch", "onnx", "int8"]

BATCH_SIZE = 16  # recordings or windows
WINDOW, HOP = 3.0, 0.5  # s, of a timeline; the models are trained on clips of 3 to 5 s
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class VoiceModel(Protocol):
    """Protocol of a backend, such as `TorchModel` or `OnnxModel`."""

    min_samples: int  # length of the shortest waveform that the model takes

    def probabilities(self, waveforms: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        """Compute calibrated probabilities, (B, K), of waveforms, (B, T), with lengths in samples, (B,)."""


class EmotionRecognizer:
    """Recognise the emotion of a voice.

    Args:
        model: Voice model in one of the backends.
        config: Configuration of the model, as `crossmodal.inference.model_config.read_config` returns it.
        backend: Name of the backend.
        folder: Path of the model folder, if the model comes from one.

    Attributes:
        labels: The K emotions in the order of the model.
        sample_rate: Sample rate of the model in Hz. Recordings are resampled to it.

    Examples:
        ```python
        recognizer = EmotionRecognizer.from_pretrained("runs/fit/model")
        recognizer("clip.wav").label
        recognizer(["a.wav", "b.mp4"])
        recognizer.timeline("meeting.mp3").segments
        ```
    """

    def __init__(
        self, model: VoiceModel, config: Mapping[str, Any], backend: Backend, folder: Path | None = None
    ) -> None:
        self.model = model
        self.folder = folder
        self.config = dict(config)
        self.backend = backend
        self.labels: tuple[str, ...] = tuple(config["labels"])
        self.sample_rate: int = config["sample_rate"]

    @property
    def warning(self) -> str | None:
        """Warning about a model that was trained on the synthetic corpus; None for other models."""
        return warning_of(self.config)

    @staticmethod
    def from_pretrained(
        folder_or_hub_id: str | Path,
        *,
        backend: BackendChoice = "auto",
        revision: str | None = None,
        trust_own_code: bool = False,
    ) -> "EmotionRecognizer":
        """Load a model.

        Args:
            folder_or_hub_id: Path of a model folder, such as ``runs/fit/model``. If it does not exist, the
                ``owner/name`` of a model on the Hugging Face Hub.
            backend: ``auto`` is ``onnx`` if the folder has ``model.onnx`` and onnxruntime is installed, else ``torch``.
                ``int8`` is ``model.int8.onnx``, which is smaller and slightly different.
            revision: Branch, tag or commit on the Hub.
            trust_own_code: Whether to import the classes of the model's parts that are not in crossmodal. Importing
                runs the code of their modules, which must be on Python's path; it is not in the folder.

        Raises:
            ModelFolderError: If the folder is incomplete, damaged or not from crossmodal.
            HubError: If the model is neither on this disk nor on the Hub.
            UntrustedCodeError: If the backend ``torch`` needs such classes, and `trust_own_code` is false.
            MissingExtraError: If the library of the backend is not installed.
        """
        folder = find_model(folder_or_hub_id, revision)
        with trusting(trust_own_code):
            return load_recognizer(folder, read_config(folder), backend)

    @staticmethod
    def from_checkpoint(
        checkpoint: str | Path, *, labels: Sequence[str] | None = None, trust_own_code: bool = False
    ) -> "EmotionRecognizer":
        """Load the voice model of a Lightning checkpoint of a student; nothing else of the checkpoint is used.

        Args:
            checkpoint: Path of a checkpoint of `crossmodal.FinetuneTask`, `TransferTask` or `ControlTask`.
            labels: The K emotions in the order of the class indices. Default: those of the task's datamodule.
            trust_own_code: As in `from_pretrained`, which also describes the error.

        Raises:
            WeightsError: If the file is missing or damaged, or is not a checkpoint of such a task.
            ConfigError: If the labels are unknown, or are not K different names.
        """
        from crossmodal.inference.torch_model import TorchModel, load_student

        with trusting(trust_own_code):
            model, labels = load_student(Path(checkpoint), labels)
        config = {"model": model.config, "labels": list(labels), "sample_rate": model.config["sample_rate"]}
        return EmotionRecognizer(TorchModel(model), config | {"temperature": 1.0}, "torch")

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is one recording, not a sequence
        self, recording: Recording, sample_rate: int | None = None
    ) -> Prediction: ...

    @overload
    def __call__(self, recording: Sequence[Recording], sample_rate: int | None = None) -> list[Prediction]: ...

    def __call__(
        self, recording: Recording | Sequence[Recording], sample_rate: int | None = None
    ) -> Prediction | list[Prediction]:
        """Predict the emotion of one recording, or of several in batches.

        Args:
            recording: Audio file or video with audio: a path, its bytes or an open binary file (read from its start
                and left open). Or samples: an array or tensor of shape (T,) or (channels, T), floats in [-1, 1] or
                integers of full scale, of 8, 16 or 32 bits. Or audio of Hugging Face's datasets: a dict of ``array``
                and ``sampling_rate``. Or a list of these. Any sample rate and number of channels; 0.1 to 120 s.
            sample_rate: Sample rate of samples in Hz. Default: that of the model. Ignored for files and dicts.

        Returns:
            The prediction, or a list of predictions in the order of the given list.

        Raises:
            MediaError: If a recording cannot be decoded, is too short or too long, or has samples that are not finite
                or whose full scale is unknown: integers of 64 bits, of a list, or of 32 bits that use at most 24.
            ConfigError: If the sample rate is invalid.
        """
        if not isinstance(recording, list | tuple):
            return self([recording], sample_rate)[0]  # type: ignore[list-item]
        predictions: list[Prediction] = []
        for first in range(0, len(recording), BATCH_SIZE):
            batch = recording[first : first + BATCH_SIZE]
            predictions += self.predict_batch([read_recording(one, sample_rate, self.sample_rate) for one in batch])
        return predictions

    def timeline(
        self, recording: Recording, sample_rate: int | None = None, *, window: float = WINDOW, hop: float = HOP
    ) -> Timeline:
        """Predict emotions over time in a recording of any length, in constant memory.

        Args:
            recording: As in `__call__`, but of any length.
            sample_rate: As in `__call__`.
            window: Length of each window in seconds, 0.1 to 120. Models are trained on clips of 3 to 5 s.
            hop: Seconds from one window to the next, above 0 and at most `window`.

        Raises:
            MediaError: If the recording cannot be decoded, is too short, or has samples that are not finite.
            ConfigError: If the sample rate, window or hop is invalid.
        """
        with open_recording(recording, sample_rate, self.sample_rate) as (rate, blocks):
            stream = self.stream(rate, window=window, hop=hop)
            windows = [found for block in blocks for found in stream.feed(block)]
            windows += stream.finish()
        return make_timeline(windows, stream.duration, self.labels)

    def stream(self, sample_rate: int | None = None, *, window: float = WINDOW, hop: float = HOP) -> EmotionStream:
        """Open a stream for live audio in chunks of this sample rate, by default that of the model.

        Its windows are those of `timeline`. Invalid arguments raise ConfigError.
        """
        return EmotionStream(
            self.predict_batch, self.sample_rate, check_rate(sample_rate, self.sample_rate), window, hop
        )

    def predict_batch(self, waveforms: Sequence[NDArray[np.float32]]) -> list[Prediction]:
        """Predict the emotions of decoded waveforms. Silent ones skip the model.

        Args:
            waveforms: (T,) each, one channel at `sample_rate` in [-1, 1].
        """
        predictions = [SILENT] * len(waveforms)
        loud = [index for index, waveform in enumerate(waveforms) if not is_silent(waveform, self.sample_rate)]
        for group in _groups(loud, [len(waveform) for waveform in waveforms], round(LONGEST * self.sample_rate)):
            lengths = np.array([len(waveforms[index]) for index in group], np.int64)
            batch = np.zeros((len(group), max(lengths.max(), self.model.min_samples)), np.float32)
            for row, index in enumerate(group):
                batch[row, : lengths[row]] = waveforms[index]
            for index, row in zip(group, self.model.probabilities(batch, lengths), strict=True):
                predictions[index] = Prediction.of_probabilities(self.labels, row)
        return predictions

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model folder to the Hugging Face Hub as ``owner/name``; return the URL of the commit.

        Options, such as ``private=True``, and errors are those of `crossmodal.inference.hub.push`. ModelFolderError is
        also raised if the model was not loaded from a folder.
        """
        from crossmodal.inference.hub import push

        if self.folder is None:
            raise ModelFolderError("This model was not loaded from a folder, and only model folders can be uploaded.")
        return push(self.folder, repo_id, **options)


def _groups(indices: Sequence[int], sizes: Sequence[int], max_samples: int) -> Iterator[list[int]]:
    """Group clips of similar length into batches of at most `BATCH_SIZE` clips and, padded, `max_samples` samples."""
    group: list[int] = []
    for index in sorted(indices, key=sizes.__getitem__):
        if group and (len(group) == BATCH_SIZE or sizes[index] * (len(group) + 1) > max_samples):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def load_recognizer(folder: Path, config: Mapping[str, Any], backend: BackendChoice = "auto") -> EmotionRecognizer:
    """Load the model of a folder whose configuration has been read. Errors are those of `from_pretrained`."""
    if backend == "auto":
        backend = "onnx" if (folder / ONNX).is_file() and find_spec("onnxruntime") else "torch"
    if backend in ("onnx", "int8"):
        from crossmodal.inference.onnx_model import load_onnx_model

        return EmotionRecognizer(load_onnx_model(folder, config, int8=backend == "int8"), config, backend, folder)
    if not find_spec("torch"):
        raise MissingExtraError(
            f"The model in {folder} needs torch: pip install torch. To run it with onnxruntime only, export it "
            "with `crossmodal export --format onnx` where torch is installed."
        )
    from crossmodal.inference.torch_model import load_torch_model

    return EmotionRecognizer(load_torch_model(folder, config), config, backend, folder)


def find_model(folder_or_hub_id: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a model, downloaded from the Hub if it is not on this disk. See `from_pretrained`."""
    folder = Path(folder_or_hub_id)
    if folder.exists() or not _HUB_ID.fullmatch(str(folder_or_hub_id)):
        return folder
    from crossmodal.inference.hub import fetch

    try:
        return fetch(str(folder_or_hub_id), revision)
    except HubError as error:
        raise HubError(f"There is no folder {folder}, and it cannot be loaded from the Hub: {error}") from error
