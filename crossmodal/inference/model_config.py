"""File names and ``config.json`` of a model folder. Does not need torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossmodal import media
from crossmodal.errors import ModelFolderError

FORMAT = 1
WEIGHTS, CONFIG, CARD, FRONT_END = "model.safetensors", "config.json", "README.md", "front_end.safetensors"
ONNX, ONNX_INT8 = "model.onnx", "model.int8.onnx"
_KEYS = ("format", "model", "labels", "sample_rate")
_SYNTHETIC = "The model was trained on the synthetic corpus. Its predictions for real recordings are meaningless."


def read_config(folder: str | Path) -> dict[str, Any]:
    """Read and check ``config.json`` of a model folder, or raise ModelFolderError; `temperature` defaults to 1.0."""
    path = Path(folder) / CONFIG
    require_files(folder, CONFIG)
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in _KEYS if key not in config]
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelFolderError(f"{path} is damaged: {error}") from error
    if missing:
        raise ModelFolderError(f"{path} has no {', '.join(missing)}: it is not the config of a crossmodal model.")
    labels, rate = config["labels"], config["sample_rate"]
    if not isinstance(config["format"], int) or not isinstance(labels, list) or {*map(type, labels)} - {str}:
        raise ModelFolderError(f"{path} is damaged: format must be a number and labels a list of strings.")
    if type(rate) is not int or not media.is_rate(rate):
        raise ModelFolderError(f"{path} is damaged: sample_rate must be a whole number of Hz, not {rate!r:.100}.")
    if config["format"] > FORMAT:
        raise ModelFolderError(f"{path} was written by a newer version of crossmodal: upgrade crossmodal.")
    temperature = config.setdefault("temperature", 1.0)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < float("inf"):
        raise ModelFolderError(f"{path} is damaged: temperature must be a number above 0, not {temperature!r}.")
    return config


def warning_of(config: Mapping[str, Any]) -> str | None:
    """Return a warning for users of a model that was trained on the synthetic corpus, else None."""
    corpus = config.get("corpus")
    return _SYNTHETIC if isinstance(corpus, Mapping) and corpus.get("kind") == "synthetic" else None


def require_files(folder: str | Path, *names: str) -> None:
    """Raise ModelFolderError if a file is missing in the folder."""
    missing = [name for name in names if not (Path(folder) / name).is_file()]
    if missing:
        raise ModelFolderError(
            f"{folder} is not a model folder: {' and '.join(missing)} not found. `crossmodal fit` writes one to "
            "runs/<name>/model."
        )
