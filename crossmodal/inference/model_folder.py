"""Write and load model folders: weights, ``config.json`` and the model card. This module needs torch."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchaudio
from safetensors.torch import load_file, save

from crossmodal.errors import ModelFolderError
from crossmodal.inference.model_card import model_card
from crossmodal.inference.model_config import (
    CARD,
    CONFIG,
    FORMAT,
    FRONT_END,
    WEIGHTS,
    read_config,
    require_files,
)
from crossmodal.models import AudioClassifier, SelfSupervisedFrontEnd
from crossmodal.models.serialization import load_model
from crossmodal.models.speech_network import copy_weights, find_weights
from crossmodal.storage import atomic_path, move_aside, read_json, write_json
from crossmodal.version import __version__

_SHIPPED = ("kind", "name", "clips", "actors")  # keys of the corpus; its path is private


@dataclass(frozen=True)
class ModelFolder:
    """A model in evaluation mode, and the content of ``config.json``."""

    model: AudioClassifier
    config: dict[str, Any]


def save_model_folder(
    trained: Path,
    folder: Path,
    summary: dict[str, Any],
    front_end_weights: str | Path | None = None,
    stage: str = "finetune",
) -> Path:
    """Write the model folder of a trained student, or of its control (`stage`), and return the folder.

    A folder that has this model is not changed. Another model in it is moved to a new folder, with the files that were
    added to it. `trained` is a file of `crossmodal.models.serialization.save_model`. The weights of a frozen front end
    are by default those at the path that the model holds.
    """
    model, _ = load_model(AudioClassifier, trained)
    model_config = model.config
    if isinstance(model.front_end, SelfSupervisedFrontEnd):
        front_end_weights = find_weights(model.front_end.bundle, front_end_weights or model.front_end.weights)
        model_config["front_end_kwargs"]["weights"] = FRONT_END
    calibration = dict(summary.get("calibration") or {})
    config = {
        "format": FORMAT,
        "stage": stage,
        "model": model_config,
        "labels": summary["labels"],
        "sample_rate": model.config["sample_rate"],
        # The temperature is 1 if there were no clips to fit it to.
        "temperature": calibration.pop("temperature", 1.0),
        **({"calibration": calibration} if calibration else {}),
        # Used for training or for model selection, so no valid test includes any of them.
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
    content = save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    if _holds(folder, config, content):
        return folder
    if (folder / CONFIG).exists():
        print(f"{folder} held another model, which is now in {move_aside(folder)}.", flush=True)
    if isinstance(model.front_end, SelfSupervisedFrontEnd):
        copy_weights(Path(str(front_end_weights)), folder / FRONT_END)
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(content)
    with atomic_path(folder / CARD) as temporary:
        parameters = sum(parameter.numel() for parameter in model.parameters())
        temporary.write_text(model_card(summary, config, parameters), encoding="utf-8")
    write_json(folder / CONFIG, config)  # last: a folder with a configuration is complete
    return folder


def _holds(folder: Path, config: dict[str, Any], weights: bytes) -> bool:
    """Return True if a folder has this model, perhaps from other versions of the packages."""
    held = read_json(folder / CONFIG)
    if not isinstance(held, dict) or held | {"versions": 0} != json.loads(json.dumps(config)) | {"versions": 0}:
        return False
    files = [WEIGHTS, *([FRONT_END] if config["model"]["front_end"] == "ssl" else [])]
    return all((folder / name).is_file() for name in files) and (folder / WEIGHTS).read_bytes() == weights


def load_model_folder(folder: str | Path, config: Mapping[str, Any] | None = None) -> ModelFolder:
    """Load a model folder, by default with the configuration in it, or raise ModelFolderError. No code is executed."""
    folder = Path(folder)
    require_files(folder, CONFIG, WEIGHTS)
    config = dict(config or read_config(folder))
    try:
        model = AudioClassifier(**_with_front_end(config["model"], folder))
        model.load_state_dict(load_file(folder / WEIGHTS))
    except Exception as error:  # damaged files raise many types; name the folder in all cases
        raise ModelFolderError(f"The model in {folder} cannot be loaded: {error}") from error
    return ModelFolder(model.eval(), config)


def _with_front_end(model_config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the model's configuration with the path of the front end's weights in this folder."""
    if model_config.get("front_end") != "ssl":
        return model_config
    if not (folder / FRONT_END).is_file():
        raise ModelFolderError(f"{FRONT_END}, the weights of the frozen front end, is missing")
    kwargs = model_config["front_end_kwargs"] | {"weights": str(folder / FRONT_END)}
    return model_config | {"front_end_kwargs": kwargs}
