"""Modality-general dimensions of a teacher's embedding: those that can be predicted from sound."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.errors import ConfigError
from crossmodal.evaluation.similarity import ridge_r2
from crossmodal.models import AudioClassifier, StatsPooling

NUM_GROUPS = 4  # groups of actors; each is predicted from the others


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


def general_dimensions(
    embedding: NDArray[np.floating], sound: NDArray[np.float64], actors: Sequence[str], share: float
) -> NDArray[np.int64]:
    """Return the sorted indices of the share of dimensions, at least one, that sound predicts best for unseen actors.

    Information that is only in the face cannot help a voice model: Xue et al., "The Modality Focusing Hypothesis",
    ICLR 2023, arXiv:2206.06487. The paper ranks channels by permuting them; here dimensions are ranked by the R^2 of
    ridge regression from sound, averaged over groups of actors that are predicted from the others. The inputs are
    embeddings, (n, E), and `sound_statistics`, (n, P), of the training clips.
    """
    people = sorted(set(actors))
    if len(people) < 3:
        raise ConfigError(
            f"teaching.general_share needs at least three training actors, to predict each from the others; there are "
            f"{len(people)}."
        )
    names, targets = np.asarray(actors), np.asarray(embedding, np.float64)
    scores = []
    for start in range(min(NUM_GROUPS, len(people))):
        held_out = np.isin(names, people[start::NUM_GROUPS])
        fitted = sound[~held_out], targets[~held_out], names[~held_out].tolist()
        scores.append(ridge_r2(*fitted, sound[held_out], targets[held_out]))
    r2 = np.nan_to_num(np.mean(scores, axis=0), nan=-np.inf)  # nan: a constant dimension
    count = max(round(share * embedding.shape[1]), 1)
    return np.sort(np.argsort(-r2, kind="stable")[:count])
