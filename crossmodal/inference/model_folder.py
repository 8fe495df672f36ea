"""The model folder: what is shipped. ``model.safetensors``, ``config.json``, ``README.md`` (the model card).

Where the front end is a frozen network, its weights lie beside them as ``front_end.safetensors``. This is what needs
torch; what the folder says of itself is read in `crossmodal.inference.model_config`.
"""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchaudio
from safetensors.torch import load_file, save_file

from crossmodal.errors import ModelFolderError
from crossmodal.inference.card import model_card
from crossmodal.inference.model_config import (
    CARD,
    CONFIG,
    FORMAT,
    FRONT_END,
    ONNX,
    ONNX_INT8,
    WEIGHTS,
    read_config,
    require_files,
)
from crossmodal.models import AudioClassifier, SelfSupervisedFrontEnd
from crossmodal.models.handover import load_model
from crossmodal.models.speech_network import copy_weights, find_weights
from crossmodal.storage import atomic_path, write_json
from crossmodal.version import __version__

_SHIPPED = ("kind", "name", "clips", "actors")  # of the corpus; where it lay is nobody's business


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
    trained: Path,
    folder: Path,
    summary: dict[str, Any],
    front_end_weights: str | Path | None = None,
    stage: str = "finetune",
) -> Path:
    """Write the model folder of a trained student, or of its control.

    Args:
        trained: The stage's file of weights, as `crossmodal.models.handover.save_model` wrote it.
        folder: The model folder; made if need be, its files replaced.
        summary: Of the run, for the card and the configuration.
        front_end_weights: Where the weights of a frozen front end lie now; where the model says, if not given.
        stage: Which trained it: ``finetune``, or ``control``, which has no teacher.

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
    for exported in (ONNX, ONNX_INT8):
        (folder / exported).unlink(missing_ok=True)  # the same
    config = {
        "format": FORMAT,
        "stage": stage,
        "model": model_config,
        "labels": summary["labels"],
        "sample_rate": model.config["sample_rate"],
        **_temperature(summary.get("calibration")),
        # Trained on, and used to choose the model: no honest test is on any of them.
        "actors_seen": sorted({*summary["corpus"]["actors"]["train"], *summary["corpus"]["actors"]["val"]}),
        "corpus": {name: value for name, value in summary["corpus"].items() if name in _SHIPPED},
        "protocol": summary["protocol"],
        "fold": summary["fold"],
        "num_folds": summary.get("num_folds"),
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


def _temperature(calibration: dict[str, Any] | None) -> dict[str, Any]:
    """What logits are divided by, and how it was found; 1 where there was nothing to fit it to."""
    if calibration is None:
        return {"temperature": 1.0}
    return {
        "temperature": calibration["temperature"],
        "calibration": {name: value for name, value in calibration.items() if name != "temperature"},
    }


def load_model_folder(folder: str | Path) -> ModelFolder:
    """Read a model folder; nothing in it is executed.

    Raises:
        ModelFolderError: There is no such folder, a file of it is missing or damaged, or a newer version wrote it.
    """
    folder = Path(folder)
    require_files(folder, CONFIG, WEIGHTS)
    config = read_config(folder)
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
