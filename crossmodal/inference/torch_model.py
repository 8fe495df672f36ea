"""PyTorch backend of the recognizer, from a model folder or a checkpoint. Other modules work without torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodal.errors import ConfigError, ModelFolderError, WeightsError
from crossmodal.inference.model_folder import check_labels, load_model_folder
from crossmodal.models import AudioClassifier, PretrainedFrontEnd
from crossmodal.own_code import own_code_of

_PREFIX = "model."  # of the weights of `task.model` in a checkpoint


class TorchModel:
    """PyTorch voice model with NumPy inputs and outputs. `temperature` divides the logits."""

    def __init__(self, network: AudioClassifier, temperature: float = 1.0) -> None:
        self.network = network.eval()
        self.temperature = temperature
        self.min_samples = network.min_samples  # shorter waveforms are padded with zeros

    @torch.inference_mode()
    def probabilities(self, waveforms: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        """Compute calibrated probabilities, (B, K), of waveforms, (B, T), with lengths in samples, (B,)."""
        batch = {"waveform": torch.from_numpy(waveforms)[:, None], "waveform_length": torch.from_numpy(lengths)}
        logits = self.network.predict_batch(batch).logits
        return (logits.double() / self.temperature).softmax(dim=-1).float().numpy()


def load_torch_model(folder: str | Path, config: Mapping[str, Any] | None = None) -> TorchModel:
    """Load ``model.safetensors`` of a model folder; arguments and errors as for `load_model_folder`."""
    loaded = load_model_folder(folder, config)
    labels, num_classes = loaded.config["labels"], loaded.model.config["num_classes"]
    if len(labels) != num_classes:
        raise ModelFolderError(f"{folder} has {len(labels)} labels for {num_classes} classes.")
    if isinstance(loaded.model.front_end, PretrainedFrontEnd):
        try:
            loaded.model.front_end.load()  # now, so that damaged weights are found before the first recording
        except WeightsError as error:
            raise ModelFolderError(f"The model in {folder} cannot be loaded: {error}") from error
    return TorchModel(loaded.model, loaded.config["temperature"])


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
