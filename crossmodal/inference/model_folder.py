"""Write and load model folders: weights, ``config.json`` and the model card. This module needs torch."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchaudio
from safetensors.torch import load_file, save_file

from crossmodal.errors import ModelFolderError, UntrustedCodeError
from crossmodal.inference.model_card import model_card
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
from crossmodal.models.serialization import load_model
from crossmodal.models.speech_network import copy_weights, find_weights
from crossmodal.own_code import own_code_of, own_sources
from crossmodal.storage import atomic_path, write_json
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
    trust_own_code: bool = False,
) -> Path:
    """Write the model folder of a trained student, or of its control (`stage`), and return the folder.

    Existing files are replaced. `trained` is a file of `crossmodal.models.serialization.save_model`. The weights of a
    frozen front end are by default those at the path that the model holds. See `load_model` for `trust_own_code`.
    """
    model, _ = load_model(AudioClassifier, trained, trust_own_code)
    model_config = model.config
    if isinstance(model.front_end, SelfSupervisedFrontEnd):
        weights = find_weights(model.front_end.bundle, front_end_weights or model.front_end.weights)
        copy_weights(weights, folder / FRONT_END)
        model_config["front_end_kwargs"]["weights"] = FRONT_END
    else:
        (folder / FRONT_END).unlink(missing_ok=True)  # may belong to an older model
    for name in (ONNX, ONNX_INT8):
        (folder / name).unlink(missing_ok=True)
    calibration = dict(summary.get("calibration") or {})
    config = {
        "format": FORMAT,
        "stage": stage,
        "model": model_config,
        **({"own_code": list(own)} if (own := own_sources(model.modules())) else {}),  # modules that it imports
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
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary)
    with atomic_path(folder / CARD) as temporary:
        parameters = sum(parameter.numel() for parameter in model.parameters())
        temporary.write_text(model_card(summary, config, parameters), encoding="utf-8")
    write_json(folder / CONFIG, config)  # last: a folder with a configuration is complete
    return folder


def load_model_folder(
    folder: str | Path, config: Mapping[str, Any] | None = None, trust_own_code: bool = False
) -> ModelFolder:
    """Load a model folder, by default with the configuration in it.

    Raises:
        ModelFolderError: If the folder is incomplete, damaged or not from crossmodal.
        UntrustedCodeError: If the model has parts outside of crossmodal, whose modules have to be imported, and
            `trust_own_code` is false.
    """
    folder = Path(folder)
    require_files(folder, CONFIG, WEIGHTS)
    config = dict(config or read_config(folder))
    try:
        with own_code_of(folder, trust_own_code):
            model = AudioClassifier(**_with_front_end(config["model"], folder))
        model.load_state_dict(load_file(folder / WEIGHTS))
    except UntrustedCodeError:
        raise
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
