"""Exported voice model. It needs onnxruntime and NumPy, but not torch."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import MissingExtraError, ModelFolderError
from crossmodal.inference.model_config import ONNX, ONNX_INT8, read_config

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Inputs, output and metadata of an exported file.
INPUTS, OUTPUT = ("waveform", "waveform_length"), "probabilities"
METADATA = ("labels", "sample_rate", "crossmodal_version", "min_samples")
_EXTERNAL = b"location"  # key of ONNX for weights in another file; our files do not contain this word
_ADVICE = "Export the model again with `crossmodal export MODEL`."


class OnnxModel:
    """Exported voice model with NumPy inputs and outputs.

    A call uses ``OMP_NUM_THREADS`` threads, by default 1: a clip of 3 s takes about a millisecond on one thread, and
    more threads are rarely faster.

    Args:
        content: Content of the file. Files that refer to other files are rejected and no operator library is loaded, so
            a file can only do arithmetic.
        name: Name of the file in errors.

    Attributes:
        labels: The K emotions.
        sample_rate: Sample rate of the waveforms in Hz.
        min_samples: Shorter waveforms are padded with zeros to this length.

    Raises:
        MissingExtraError: If onnxruntime is not installed.
        ModelFolderError: If the file is damaged or was not written by `crossmodal export`.
    """

    def __init__(self, content: bytes, name: str = ONNX) -> None:
        if _EXTERNAL in content:
            raise ModelFolderError(f"{name} refers to other files, which are not read. {_ADVICE}")
        self._session = _open(content, name)
        metadata = self._session.get_modelmeta().custom_metadata_map
        inputs = tuple(one.name for one in self._session.get_inputs())
        if inputs != INPUTS or not {*METADATA} <= metadata.keys():
            missing = ", ".join(key for key in METADATA if key not in metadata) or "none"
            raise ModelFolderError(
                f"{name} was not exported by crossmodal (inputs: {', '.join(inputs)}; missing metadata: {missing}). "
                f"{_ADVICE}"
            )
        try:
            self.labels = tuple(map(str, json.loads(metadata["labels"])))
            self._max_batch = int(metadata.get("max_batch", 0))  # of networks for which padding changes a clip
            self.sample_rate, self.min_samples = int(metadata["sample_rate"]), int(metadata["min_samples"])
        except (TypeError, ValueError) as error:
            raise ModelFolderError(f"{name} is damaged: its metadata cannot be read ({error}). {_ADVICE}") from error

    def probabilities(self, waveforms: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Compute calibrated probabilities, (B, K), of waveforms, (B, T) at `sample_rate` in [-1, 1].

        The lengths are in samples, (B,); samples beyond them are ignored.
        """
        waveforms, lengths = np.asarray(waveforms, np.float32), np.asarray(lengths, np.int64)
        count = max(len(waveforms), 1)
        size = self._max_batch or count
        parts = [(waveforms[at : at + size], lengths[at : at + size]) for at in range(0, count, size)]
        return np.concatenate([self._session.run([OUTPUT], dict(zip(INPUTS, part, strict=True)))[0] for part in parts])


def load_onnx_model(folder: str | Path, config: Mapping[str, Any] | None = None, *, int8: bool = False) -> OnnxModel:
    """Load ``model.onnx`` of a model folder, or ``model.int8.onnx``; only ``config.json`` is needed too.

    Raises:
        ModelFolderError: If a file is missing or damaged, or the model does not match ``config.json``.
        MissingExtraError: If onnxruntime is not installed.
    """
    config = config or read_config(folder)
    path = Path(folder) / (ONNX_INT8 if int8 else ONNX)
    if not path.is_file():
        raise ModelFolderError(f"{folder} has no {path.name}: `crossmodal export MODEL{' --int8' if int8 else ''}`.")
    model = OnnxModel(path.read_bytes(), str(path))
    if [*model.labels] != config["labels"] or model.sample_rate != config["sample_rate"]:
        raise ModelFolderError(
            f"{path} does not match the config.json in {folder}: its labels are {', '.join(model.labels)} and its "
            f"sample rate is {model.sample_rate} Hz. {_ADVICE}"
        )
    return model


def _open(content: bytes, name: str) -> "InferenceSession":
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{name} needs onnxruntime: pip install 'crossmodal[export]'") from error
    options = onnxruntime.SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = max(int(threads), 1) if threads.isdecimal() else 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, not printed
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime, numpy and protobuf raise many types
        cause = " ".join(str(error).split())[:200]
        raise ModelFolderError(f"{name} is damaged or needs a newer onnxruntime: {cause} {_ADVICE}") from error
