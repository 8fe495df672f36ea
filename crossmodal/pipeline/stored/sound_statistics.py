"""Statistics over time of the front end's features, from which measures predict what a face shows."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.models import AudioClassifier, StatsPooling


@torch.no_grad()
def sound_statistics(
    model: AudioClassifier, datamodule: CorpusDataModule, clips: Sequence[Clip], device: torch.device
) -> NDArray[np.float64]:
    """Compute mean and standard deviation over time of the front end's features of clips, (n, 2F)."""
    pooling, rows = StatsPooling(model.front_end.num_features), []
    model.to(device)
    for batch in datamodule.loader(clips):
        tensors = {name: value.to(device) for name, value in batch.items() if isinstance(value, torch.Tensor)}
        features, length = model.batch_features(tensors)
        rows.append(pooling(features, length).cpu())
    return torch.cat(rows).double().numpy()
