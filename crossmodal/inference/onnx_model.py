"""An exported voice model. It takes onnxruntime and NumPy to run, and nothing else: no torch."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import MissingExtraError, ModelFolderError
from crossmodal.inference.model_config import ONNX, ONNX_INT8, read_config

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# What an exported file takes, gives and says of itself.
INPUTS, OUTPUT = ("waveform", "waveform_length"), "probabilities"
METADATA = ("labels", "sample_rate", "crossmodal_version", "min_samples")
_EXTERNAL = b"location"  # the key under which ONNX names another file that holds weights; none of ours has the word
_HOW_TO_GET = "`crossmodal export MODEL` writes one that is whole."


class OnnxModel:
    """An exported voice model that answers NumPy with NumPy.

    Args:
        content: The file's bytes. A file that refers to other files is refused, and no library of operators is loaded:
            what a file can do is arithmetic.
        name: How to call it in errors.
        threads: How many threads one call uses; ``OMP_NUM_THREADS``, else 1, if not given. A clip of 3 s takes about a
            millisecond on one, and is seldom faster on more.

    Attributes:
        labels: The K emotions.
        sample_rate: Of the waveforms, in Hz.
        min_samples: A shorter waveform is heard as if silence followed it, up to so many samples.
        version: The version of crossmodal that exported it.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ModelFolderError: It is damaged, or not what `crossmodal export` writes.
    """

    def __init__(self, content: bytes, name: str = ONNX, threads: int | None = None) -> None:
        if _EXTERNAL in content:
            raise ModelFolderError(f"{name} refers to other files, which are not read. {_HOW_TO_GET}")
        self._session = _open(content, name, threads or _threads_of_environment())
        said = _metadata(self._session, name)
        try:
            self.labels = tuple(map(str, json.loads(said["labels"])))
            self.sample_rate, self.min_samples = int(said["sample_rate"]), int(said["min_samples"])
        except (TypeError, ValueError) as error:
            raise ModelFolderError(
                f"{name} is damaged: its metadata cannot be read ({error}). {_HOW_TO_GET}"
            ) from error
        self.version = said["crossmodal_version"]

    def probabilities(self, waveforms: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Say how likely each emotion is.

        Args:
            waveforms: Of shape (B, T), at `sample_rate`, in [-1, 1]; what stands beyond their lengths is ignored.
            lengths: Length of each in samples, of shape (B,).

        Returns:
            Calibrated probabilities of shape (B, K), in the order of `labels`.
        """
        given = (np.asarray(waveforms, np.float32), np.asarray(lengths, np.int64))
        found: NDArray[np.float32] = self._session.run([OUTPUT], dict(zip(INPUTS, given, strict=True)))[0]
        return found


def load_onnx_model(folder: str | Path, *, int8: bool = False, threads: int | None = None) -> OnnxModel:
    """Load ``model.onnx`` of a model folder, which need hold nothing else but ``config.json``.

    Args:
        folder: The model folder.
        int8: Whether to load ``model.int8.onnx`` instead.
        threads: As for `OnnxModel`.

    Raises:
        ModelFolderError: A file is missing or damaged, or the model is not the one that the folder describes.
        MissingExtraError: onnxruntime is not installed.

    Example:
        ```python
        model = load_onnx_model("runs/fit/model")
        model.probabilities(waveform[None], np.array([waveform.size]))
        ```
    """
    config, path = read_config(folder), Path(folder) / (ONNX_INT8 if int8 else ONNX)
    if not path.is_file():
        raise ModelFolderError(f"{folder} holds no {path.name}: `crossmodal export MODEL{' --int8' if int8 else ''}`.")
    model = OnnxModel(path.read_bytes(), str(path), threads)
    if [*model.labels] != config["labels"] or model.sample_rate != config["sample_rate"]:
        raise ModelFolderError(
            f"{path} is another model than {folder} describes: it knows {', '.join(model.labels)} at "
            f"{model.sample_rate} Hz. {_HOW_TO_GET}"
        )
    return model


def _threads_of_environment() -> int:
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() and int(said) > 0 else 1


def _open(content: bytes, name: str, threads: int) -> "InferenceSession":
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{name} needs onnxruntime: pip install 'crossmodal[export]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what is wrong comes as an exception, once
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for every status, and numpy and protobuf theirs
        cause = " ".join(str(error).split())[:200]
        raise ModelFolderError(f"{name} is damaged, or needs a newer onnxruntime: {cause} {_HOW_TO_GET}") from error


def _metadata(session: "InferenceSession", name: str) -> dict[str, str]:
    """What the file says of itself, if it is of our make."""
    said: dict[str, str] = session.get_modelmeta().custom_metadata_map
    taken = tuple(given.name for given in session.get_inputs())
    made = tuple(found.name for found in session.get_outputs())
    lacking = [key for key in METADATA if key not in said]
    if taken != INPUTS or made != (OUTPUT,) or lacking:
        raise ModelFolderError(
            f"{name} was not exported by crossmodal: it takes {', '.join(taken)}, makes {', '.join(made)}"
            f"{' and does not say ' if lacking else ''}{', '.join(lacking)}. {_HOW_TO_GET}"
        )
    return said
