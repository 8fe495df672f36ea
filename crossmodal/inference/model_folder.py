"""The model folder: what is shipped. ``model.safetensors``, ``config.json``, ``README.md`` (the model card).

Where the front end is a frozen network, its weights lie beside them as ``front_end.safetensors``.
"""

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchaudio
from safetensors.torch import load_file, save_file

from crossmodal import __version__
from crossmodal.errors import ModelFolderError
from crossmodal.inference.card import model_card
from crossmodal.models import AudioClassifier, SelfSupervisedFrontEnd
from crossmodal.models.handover import load_model
from crossmodal.models.speech_network import copy_weights, find_weights
from crossmodal.storage import atomic_path, write_json

FORMAT = 1
WEIGHTS, CONFIG, CARD, FRONT_END = "model.safetensors", "config.json", "README.md", "front_end.safetensors"
_SHIPPED = ("kind", "clips", "actors")  # of the corpus; where it lay is nobody's business
_KEYS = ("format", "model", "labels", "sample_rate")


@dataclass(frozen=True)
class ModelFolder:
    """A model with what its folder says of it.

    Args:
        model: In evaluation mode.
        config: The content of ``config.json``.
    """

    model: AudioClassifier
    config: dict[str, Any]


def save_model_folder(
    trained: Path, folder: Path, summary: dict[str, Any], front_end_weights: str | Path | None = None
) -> Path:
    """Write the model folder of a trained student.

    Args:
        trained: The stage's file of weights, as `crossmodal.models.handover.save_model` wrote it.
        folder: The model folder; made if need be, its files replaced.
        summary: Of the run, for the card and the configuration.
        front_end_weights: Where the weights of a frozen front end lie now; where the model says, if not given.

    Returns:
        The folder.

    Raises:
        WeightsError: There is no such model, or its front end's weights cannot be had.
    """
    model, _ = load_model(AudioClassifier, trained)
    model_config = model.config
    if isinstance(model.front_end, SelfSupervisedFrontEnd):
        weights = find_weights(model.front_end.bundle, front_end_weights or model.front_end.weights)
        copy_weights(weights, folder / FRONT_END)
        model_config["front_end_kwargs"]["weights"] = FRONT_END
    else:
        (folder / FRONT_END).unlink(missing_ok=True)  # of another model that was here before
    config = {
        "format": FORMAT,
        "model": model_config,
        "labels": summary["labels"],
        "sample_rate": model.config["sample_rate"],
        # Trained on, and used to choose the model: no honest test is on any of them.
        "actors_seen": sorted({*summary["corpus"]["actors"]["train"], *summary["corpus"]["actors"]["val"]}),
        "corpus": {name: value for name, value in summary["corpus"].items() if name in _SHIPPED},
        "protocol": summary["protocol"],
        "fold": summary["fold"],
        "channel": summary["channel"],
        "label_set": summary["label_set"],
        "speaker_dependent": summary["speaker_dependent"],
        "versions": {
            "crossmodal": __version__,
            "torch": torch.__version__,
            "torchaudio": torchaudio.__version__,
            "python": platform.python_version(),
        },
    }
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary)
    with atomic_path(folder / CARD) as temporary:
        parameters = sum(parameter.numel() for parameter in model.parameters())
        temporary.write_text(model_card(summary, config, parameters), encoding="utf-8")
    write_json(folder / CONFIG, config)  # last: a folder with its config is whole
    return folder


def load_model_folder(folder: str | Path) -> ModelFolder:
    """Read a model folder; nothing in it is executed.

    Raises:
        ModelFolderError: There is no such folder, a file of it is missing or damaged, or a newer version wrote it.
    """
    folder = Path(folder)
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ModelFolderError(
            f"{folder} is not a model folder: {' and '.join(missing)} not there. `crossmodal fit` writes one at "
            "runs/<name>/model."
        )
    config = _read_config(folder / CONFIG)
    try:
        model = AudioClassifier(**_with_front_end(config["model"], folder))
        model.load_state_dict(load_file(folder / WEIGHTS))
    except Exception as error:  # whatever a damaged file makes of itself, the user must know which folder it is
        raise ModelFolderError(f"The model in {folder} cannot be rebuilt: {error}") from error
    return ModelFolder(model.eval(), config)


def _with_front_end(model_config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The model's configuration, in which a frozen front end finds its weights wherever the folder lies."""
    if model_config.get("front_end") != "ssl":
        return model_config
    if not (folder / FRONT_END).is_file():
        raise ModelFolderError(f"{FRONT_END} is not there, which holds the frozen network that listens")
    weights = {"weights": str(folder / FRONT_END)}
    return {**model_config, "front_end_kwargs": {**model_config["front_end_kwargs"], **weights}}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        lacking = [key for key in _KEYS if key not in config]
    except (ValueError, TypeError) as error:
        raise ModelFolderError(f"{path} is damaged: {error}") from error
    if lacking:
        raise ModelFolderError(f"{path} does not say {', '.join(lacking)}: it is not the config of a crossmodal model.")
    if not isinstance(config["format"], int) or not isinstance(config["labels"], list):
        raise ModelFolderError(f"{path} is damaged: its format must be a number and its labels a list.")
    if config["format"] > FORMAT:
        raise ModelFolderError(f"{path} was written by a newer crossmodal than this one: install that, or a later one.")
    return config
