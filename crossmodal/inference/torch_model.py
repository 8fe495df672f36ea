"""PyTorch backend of the recognizer. Other modules of inference work without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodal.errors import ModelFolderError, WeightsError
from crossmodal.inference.model_folder import load_model_folder
from crossmodal.models import AudioClassifier, SelfSupervisedFrontEnd


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
    if isinstance(loaded.model.front_end, SelfSupervisedFrontEnd):
        try:
            loaded.model.front_end.load()  # now, so that damaged weights are found before the first recording
        except WeightsError as error:
            raise ModelFolderError(f"The model in {folder} cannot be loaded: {error}") from error
    return TorchModel(loaded.model, loaded.config["temperature"])
