"""The voice model in a checkpoint of a training stage. This module needs torch."""

from collections.abc import Sequence
from pathlib import Path

import torch

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.inference.model_folder import check_labels
from crossmodal.models import AudioClassifier
from crossmodal.own_code import own_code_of

_PREFIX = "model."  # of the weights of `task.model`


def load_student(path: Path, labels: Sequence[str] | None = None) -> tuple[AudioClassifier, Sequence[str]]:
    """Load the voice model and its labels; see `crossmodal.EmotionRecognizer.from_checkpoint`."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # missing and damaged files raise many types
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path} cannot be read as a checkpoint: {reason}") from error
    about = content.get("crossmodal", {}) if isinstance(content, dict) else {}
    if "model" not in about:
        what = "a face model" if about else "no crossmodal task"
        raise WeightsError(f"{path} holds {what}: give a checkpoint of the stage transfer, finetune or control.")
    try:
        with own_code_of(path):
            model = AudioClassifier(**about["model"])
        weights = {name: tensor for name, tensor in content["state_dict"].items() if name.startswith(_PREFIX)}
        model.load_state_dict({name.removeprefix(_PREFIX): tensor for name, tensor in weights.items()})
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"The voice model in {path} cannot be loaded: {error}") from error
    labels = labels or about.get("labels")
    if not labels:
        raise ConfigError(f"{path} does not hold the names of the classes: pass labels=[...], in their order.")
    check_labels(model, labels)
    return model.eval(), labels
