"""Saving and loading of a trained model as one safetensors file with its weights and configuration."""

import json
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.models.classifier import AudioClassifier
from crossmodal.models.face import FaceClassifier
from crossmodal.own_code import own_code_of
from crossmodal.storage import atomic_path

Model = AudioClassifier | FaceClassifier
ModelT = TypeVar("ModelT", AudioClassifier, FaceClassifier)


def save_model(model: Model, path: str | Path, **about: Any) -> None:
    """Write a model's weights and configuration atomically, with JSON values about it, such as ``train_actors``."""
    metadata = {"config": json.dumps(model.config), "about": json.dumps(about)}
    content = save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, metadata)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(_sort_header(content))


def _sort_header(content: bytes) -> bytes:
    """Sort the header of a safetensors file, whose order is otherwise random: the same model gives the same bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of 8
    return len(header).to_bytes(8, "little") + header + content[end:]


def load_model(model_class: type[ModelT], path: str | Path) -> tuple[ModelT, dict[str, Any]]:
    """Return a model that `save_model` wrote, in evaluation mode, and the values about it.

    Raises:
        WeightsError: If the file is damaged, or not of such a model.
        UntrustedCodeError: If it names a class outside of crossmodal, without `crossmodal.own_code.trusting`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        with own_code_of(path):
            model = model_class(**json.loads(metadata["config"]))
        about: dict[str, Any] = json.loads(metadata["about"])
    except (ConfigError, OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} cannot be loaded as a {model_class.__name__} of crossmodal: {error}") from error
    load_weights(model, path)
    return model.eval(), about


def load_weights(model: Model, path: str | Path) -> None:
    """Load the weights of a model with the same configuration, or raise WeightsError."""
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from error
    except RuntimeError as error:
        raise WeightsError(
            f"The weights in {path} do not fit this model. Check that its settings have not changed. {error}"
        ) from error
