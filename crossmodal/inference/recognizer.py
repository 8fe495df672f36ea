"""A finished voice model, ready to listen. Importing this imports no torch."""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import HubError, MissingExtraError, ModelFolderError
from crossmodal.inference.model_config import ONNX, read_config
from crossmodal.inference.prediction import NOTHING_HEARD, Prediction, Timeline
from crossmodal.inference.recording import LONGEST, Recording, check_rate, open_recording, read_recording
from crossmodal.inference.silence import is_silent
from crossmodal.inference.streaming import EmotionStream
from crossmodal.inference.timeline import make_timeline

Backend = Literal["torch", "onnx", "int8"]
BackendChoice = Literal["auto", "torch", "onnx", "int8"]

BATCH_SIZE = 16  # recordings or windows that the model hears at a time
WINDOW, HOP = 3.0, 0.5  # s, of a timeline; the models are trained on clips of 3 to 5 s
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class VoiceModel(Protocol):
    """What a backend is: `crossmodal.inference.torch_model.TorchModel` or its like in ONNX.

    Attributes:
        min_samples: The shortest waveform that it takes.
    """

    min_samples: int

    def probabilities(self, waveforms: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        """Calibrated probabilities of shape (B, K) for waveforms of shape (B, T) and their lengths in samples, (B,)."""


class EmotionRecognizer:
    """Recognise the emotion of a voice.

    Args:
        model: The voice model, in one of the backends.
        config: What its model folder says of it, as `crossmodal.inference.model_config.read_config` returns it.
        backend: Which one.
        folder: Where it came from; None where it came from no folder.

    Attributes:
        labels: The K emotions, in the order of the model.
        sample_rate: Of what the model hears, in Hz. Recordings may have any other.

    Example:
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

    @classmethod
    def from_pretrained(
        cls,
        folder_or_hub_id: str | Path,
        *,
        backend: BackendChoice = "auto",
        revision: str | None = None,
    ) -> "EmotionRecognizer":
        """Load a model.

        Args:
            folder_or_hub_id: A model folder, such as ``runs/fit/model``; or, where there is no such folder, the
                ``owner/name`` of a model on the Hugging Face Hub.
            backend: ``auto`` is ``onnx`` where the folder holds ``model.onnx`` and onnxruntime is installed, else
                ``torch``. ``int8`` is ``model.int8.onnx``: smaller, and not quite the same.
            revision: Branch, tag or commit on the Hub.

        Raises:
            ModelFolderError: It is incomplete, damaged or of another make.
            MissingExtraError: What the backend needs is not installed.
        """
        folder = find_model(folder_or_hub_id, revision)
        config = read_config(folder)
        if backend == "auto":
            backend = "onnx" if (folder / ONNX).is_file() and find_spec("onnxruntime") else "torch"
        if backend in ("onnx", "int8"):
            from crossmodal.inference.onnx_model import load_onnx_model

            return cls(load_onnx_model(folder, int8=backend == "int8"), config, backend, folder)
        if not find_spec("torch"):
            raise MissingExtraError(
                f"The model in {folder} needs torch here: pip install torch, or export it with "
                "`crossmodal export --format onnx` and listen through onnxruntime alone."
            )
        from crossmodal.inference.torch_model import load_torch_model

        return cls(load_torch_model(folder), config, backend, folder)

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a Sequence of str, and yet one recording
        self, recording: Recording, sample_rate: int | None = None
    ) -> Prediction: ...

    @overload
    def __call__(self, recording: Sequence[Recording], sample_rate: int | None = None) -> list[Prediction]: ...

    def __call__(
        self, recording: Recording | Sequence[Recording], sample_rate: int | None = None
    ) -> Prediction | list[Prediction]:
        """Listen to one recording, or to several in batches.

        Args:
            recording: A sound file or a video with sound, as a path, its bytes or an open binary file (read from its
                beginning, and left open); or samples, an array or tensor of shape (T,) or (channels, T): floats in
                [-1, 1] or integers of full scale. Or a list of such. Any rate and number of channels; 0.1 to 120 s.
            sample_rate: Of samples, in Hz; the model's own if not given. A file says its own.

        Returns:
            What is heard; in a list where a list was given, in its order.

        Raises:
            MediaError: A recording cannot be decoded, is too short or too long, or its samples are not finite.
            ConfigError: The rate is not that of any sound.
        """
        if not isinstance(recording, list | tuple):
            return self.hear([self._read(recording, sample_rate)])[0]  # type: ignore[arg-type]
        heard: list[Prediction] = []
        for first in range(0, len(recording), BATCH_SIZE):
            heard += self.hear([self._read(one, sample_rate) for one in recording[first : first + BATCH_SIZE]])
        return heard

    def timeline(
        self, recording: Recording, sample_rate: int | None = None, *, window: float = WINDOW, hop: float = HOP
    ) -> Timeline:
        """Listen to a recording of any length, window by window, in constant memory.

        Args:
            recording: As for a call, but as long as it may be.
            sample_rate: As for a call.
            window: Seconds of each window, 0.1 to 120. The models are trained on clips of 3 to 5 s.
            hop: Seconds from one window to the next, above 0 and not more than `window`.

        Raises:
            MediaError: It cannot be decoded, is too short, or its samples are not finite.
            ConfigError: A rate, window or hop that cannot be.
        """
        with open_recording(recording, sample_rate, self.sample_rate) as (rate, blocks):
            stream = self.stream(rate, window=window, hop=hop)
            windows = [found for block in blocks for found in stream.feed(block)]
            windows += stream.finish()
        return make_timeline(windows, stream.duration, self.labels)

    def stream(self, sample_rate: int | None = None, *, window: float = WINDOW, hop: float = HOP) -> EmotionStream:
        """Listen while the sound comes in; the windows are those of `timeline`.

        Args:
            sample_rate: Of the chunks, in Hz; the model's own if not given.
            window: As for `timeline`.
            hop: As for `timeline`.

        Raises:
            ConfigError: A rate, window or hop that cannot be.
        """
        return EmotionStream(self.hear, self.sample_rate, check_rate(sample_rate, self.sample_rate), window, hop)

    def hear(self, waveforms: Sequence[NDArray[np.float32]]) -> list[Prediction]:
        """Say what is in waveforms that are as the model wants them; what is silent is not put to it.

        Args:
            waveforms: Each of shape (T,), one channel at `sample_rate` in [-1, 1].
        """
        heard = [NOTHING_HEARD] * len(waveforms)
        loud = [index for index, waveform in enumerate(waveforms) if not is_silent(waveform, self.sample_rate)]
        for group in _groups(loud, [len(waveform) for waveform in waveforms], round(LONGEST * self.sample_rate)):
            lengths = np.array([len(waveforms[index]) for index in group], np.int64)
            batch = np.zeros((len(group), lengths.max()), np.float32)
            for row, index in enumerate(group):
                batch[row, : lengths[row]] = waveforms[index]
            for index, row in zip(group, self.probabilities(batch, lengths), strict=True):
                heard[index] = Prediction.of_probabilities(self.labels, row)
        return heard

    def probabilities(self, waveforms: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        """Ask the model itself, without the energy gate.

        Args:
            waveforms: (B, T) at `sample_rate`; what stands beyond their lengths is ignored.
            lengths: (B,) in samples.

        Returns:
            (B, K) calibrated probabilities, in the order of `labels`.
        """
        lacking = max(self.model.min_samples - waveforms.shape[1], 0)
        return self.model.probabilities(np.pad(waveforms, ((0, 0), (0, lacking))) if lacking else waveforms, lengths)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None, **options: Any) -> str:
        """Put the model's folder on the Hugging Face Hub, in one commit.

        Args:
            repo_id: Such as ``owner/name``; the repository is made if need be.
            private: Whether a repository that is made is private.
            token: To write with; that of ``hf auth login`` or of the variable ``HF_TOKEN`` if not given.
            options: As for `crossmodal.inference.hub.push`.

        Returns:
            The address of the commit.

        Raises:
            ModelFolderError: It came from no folder, or its folder is gone.
            HubError: The Hub cannot be reached, or does not let you.
        """
        from crossmodal.inference.hub import push

        if self.folder is None:
            raise ModelFolderError("This recognizer came from no model folder, and only a folder can go on the Hub.")
        return push(self.folder, repo_id, private=private, token=token, **options)

    def _read(self, recording: Recording, sample_rate: int | None) -> NDArray[np.float32]:
        return read_recording(recording, sample_rate, self.sample_rate)


def _groups(chosen: Sequence[int], sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Batches of at most `BATCH_SIZE`, neighbours in length, and of `most` samples with their padding."""
    group: list[int] = []
    for index in sorted(chosen, key=sizes.__getitem__):
        if group and (len(group) == BATCH_SIZE or sizes[index] * (len(group) + 1) > most):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def find_model(folder_or_hub_id: str | Path, revision: str | None = None) -> Path:
    """The folder of a model, fetched from the Hub where it is not on this disk; arguments as of `from_pretrained`."""
    folder = Path(folder_or_hub_id)
    if folder.exists() or not _HUB_ID.fullmatch(str(folder_or_hub_id)):
        return folder
    from crossmodal.inference.hub import fetch

    try:
        return fetch(str(folder_or_hub_id), revision)
    except HubError as error:
        raise HubError(f"There is no folder {folder}, and on the Hub: {error}") from error
