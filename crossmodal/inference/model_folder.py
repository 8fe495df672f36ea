"""Write and load model folders: weights, ``config.json`` and the model card. This module needs torch."""

import json
import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torchaudio
from safetensors.torch import load_file, save
from torch import nn

from crossmodal.errors import ConfigError, ModelFolderError, UntrustedCodeError
from crossmodal.inference.hub import push
from crossmodal.inference.model_card import UNKNOWN, model_card
from crossmodal.inference.model_config import CARD, CONFIG, FORMAT, FRONT_END, WEIGHTS, read_config, require_files
from crossmodal.models import AudioClassifier, PretrainedFrontEnd
from crossmodal.models.serialization import load_model
from crossmodal.own_code import own_code_of, own_sources
from crossmodal.storage import atomic_path, move_aside, read_json, write_json
from crossmodal.version import __version__

_SHIPPED = ("kind", "name", "clips", "actors")  # keys of the corpus; its path is private
_SETTING = ("protocol", "fold", "num_folds", "channel", "label_set", "speaker_dependent")


@dataclass(frozen=True)
class ModelFolder:
    """A model in evaluation mode, or an `OnnxModel`, and the content of ``config.json``."""

    model: Any
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
    if front_end_weights and isinstance(model.front_end, PretrainedFrontEnd):
        model.front_end.source = replace(model.front_end.source, weights=str(Path(front_end_weights).absolute()))
    calibration = dict(summary.get("calibration") or {})
    about = {
        "stage": stage,
        "labels": summary["labels"],
        # The temperature is 1 if there were no clips to fit it to.
        "temperature": calibration.pop("temperature", 1.0),
        **({"calibration": calibration} if calibration else {}),
        # Used for training or for model selection, so no valid test includes any of them.
        "actors_seen": sorted({*summary["corpus"]["actors"]["train"], *summary["corpus"]["actors"]["val"]}),
        "corpus": {name: value for name, value in summary["corpus"].items() if name in _SHIPPED},
        **{name: summary.get(name) for name in _SETTING},
    }
    return _write(model, folder, about, summary)


def save_pretrained(
    model: AudioClassifier, folder: str | Path, *, labels: Sequence[str], actors_seen: Iterable[str] | None
) -> Path:
    """Write the model folder of a voice model that was trained in any loop, and return the folder.

    Args:
        model: The voice model, such as ``task.model`` of a `crossmodal.FinetuneTask`.
        folder: Path of the model folder. Another model in it is moved to a new folder.
        labels: The K emotions in the order of the class indices.
        actors_seen: Names of the actors used for training or for model selection, on which ``crossmodal test`` refuses
            to test the model; None if they are unknown.

    Raises:
        ConfigError: If the model is not a voice model, the labels are not K names, or `actors_seen` is a string.
        WeightsError: If the weights of a frozen front end are not available.

    Examples:
        >>> import tempfile
        >>> model = AudioClassifier("mfcc", "dense", num_classes=2)
        >>> folder = save_pretrained(model, tempfile.mkdtemp(), labels=["happy", "sad"], actors_seen=["01", "02"])
    """
    check_labels(model, labels)
    if isinstance(actors_seen, str):
        raise ConfigError(f"actors_seen must be a list of names, or None, not {actors_seen!r}.")
    seen = None if actors_seen is None else sorted({*map(str, actors_seen)})
    about = {"labels": list(labels), "actors_seen": seen, "corpus": {"kind": UNKNOWN}}
    return _write(model, Path(folder), about, about | {"stages": {}})


def push_to_hub(
    model: AudioClassifier, repo_id: str, *, labels: Sequence[str], actors_seen: Iterable[str] | None, **options: Any
) -> str:
    """Upload the folder of `save_pretrained` to the Hub as ``owner/name``; return the URL of the commit.

    Options and errors are also those of `crossmodal.inference.hub.push`, such as ``private=True``.
    """
    with tempfile.TemporaryDirectory() as folder:
        return push(save_pretrained(model, folder, labels=labels, actors_seen=actors_seen), repo_id, **options)


def check_labels(model: nn.Module, labels: Sequence[str]) -> None:
    """Raise ConfigError if a module is not a voice model, or the labels are not different names of its classes."""
    if not isinstance(model, AudioClassifier):
        raise ConfigError(f"Only a voice model, an AudioClassifier, can be saved, not a {type(model).__name__}.")
    num_classes = model.config["num_classes"]
    if isinstance(labels, str) or len({*labels}) != num_classes or len(labels) != num_classes:
        raise ConfigError(f"labels must be {num_classes} different names, one for each class, got {labels!r:.200}.")


def _write(model: AudioClassifier, folder: Path, about: Mapping[str, Any], summary: dict[str, Any]) -> Path:
    model_config = model.config
    front_end = model.front_end if isinstance(model.front_end, PretrainedFrontEnd) else None
    if front_end:
        front_end.source.weights_file()  # before another model is moved
        name = front_end.source.model  # a path is private
        name = Path(name).name if Path(name).is_absolute() else name
        model_config["front_end_kwargs"] |= {"weights": FRONT_END, "model": name}
    versions = {"torch": torch.__version__, "torchaudio": torchaudio.__version__, "python": platform.python_version()}
    config = {
        "format": FORMAT,
        "model": model_config,
        "sample_rate": model_config["sample_rate"],
        **({"own_code": list(own)} if (own := own_sources(model.modules())) else {}),  # modules that it imports
        **about,
        "versions": {"crossmodal": __version__, **versions},
    }
    content = save({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()})
    if _holds(folder, config, content):
        return folder
    if (folder / CONFIG).exists():
        print(f"{folder} held another model, which is now in {move_aside(folder)}.", file=sys.stderr, flush=True)
    if front_end:
        front_end.save_frozen_layers(folder / FRONT_END)
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
    files = [WEIGHTS, *([FRONT_END] if config["model"]["front_end"] == "pretrained" else [])]
    return all((folder / name).is_file() for name in files) and (folder / WEIGHTS).read_bytes() == weights


def load_model_folder(folder: str | Path, config: Mapping[str, Any] | None = None) -> ModelFolder:
    """Load a model folder, by default with the configuration in it.

    Raises:
        ModelFolderError: If the folder is incomplete, damaged or not from crossmodal.
        UntrustedCodeError: If the model has parts outside of crossmodal, without `crossmodal.own_code.trusting`.
    """
    folder = Path(folder)
    require_files(folder, CONFIG, WEIGHTS)
    config = dict(config or read_config(folder))
    try:
        with own_code_of(folder):
            model = AudioClassifier(**_with_front_end(config["model"], folder))
        model.load_state_dict(load_file(folder / WEIGHTS))
    except UntrustedCodeError:
        raise
    except Exception as error:  # damaged files raise many types; name the folder in all cases
        raise ModelFolderError(f"The model in {folder} cannot be loaded: {error}") from error
    return ModelFolder(model.eval(), config)


def _with_front_end(model_config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the model's configuration with the path of the front end's weights in this folder."""
    if model_config.get("front_end") != "pretrained":
        return model_config
    if not (folder / FRONT_END).is_file():
        raise ModelFolderError(f"{FRONT_END}, the weights of the frozen front end, is missing")
    kwargs = model_config["front_end_kwargs"] | {"weights": str(folder / FRONT_END)}
    return model_config | {"front_end_kwargs": kwargs}
