"""Which dimensions of a teacher's embedding sound can tell: the modality-general ones."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.errors import ConfigError
from crossmodal.evaluation.similarity import ridge_r2
from crossmodal.models import AudioClassifier, StatsPooling

NUM_GROUPS = 4  # of actors, each predicted from the others


@torch.no_grad()
def sound_statistics(
    model: AudioClassifier, datamodule: CorpusDataModule, clips: Sequence[Clip], device: torch.device
) -> NDArray[np.float64]:
    """Describe the sound of clips, (n, 2F): mean and standard deviation over time of what the front end makes of it.

    Args:
        model: Whose front end; nothing else of it is used, trained or not.
        datamodule: With the clips' sound, set up.
        clips: In the order of the result.
        device: Where to run the front end.
    """
    pooling, rows = StatsPooling(model.front_end.num_features), []
    model.to(device)
    for batch in datamodule.loader(clips):
        if "features" in batch:
            features, length = batch["features"].to(device), batch["feature_length"].to(device)
        else:
            features, length = model.run_front_end(batch["waveform"].to(device), batch["waveform_length"].to(device))
        rows.append(pooling(features, length).cpu())
    return torch.cat(rows).double().numpy()


def general_dimensions(
    embedding: NDArray[np.floating], sound: NDArray[np.float64], actors: Sequence[str], share: float
) -> NDArray[np.int64]:
    """Choose the dimensions that sound tells best of actors whom the prediction has not met.

    What only the face knows is no help to a voice, whatever it is worth: Xue et al., "The Modality Focusing
    Hypothesis", ICLR 2023, arXiv:2206.06487. The paper ranks channels by permuting them; here a dimension's rank is the
    R^2 of ridge regression from sound, the mean over groups of actors of whom each is predicted from the others.

    Args:
        embedding: (n, E) of the training clips.
        sound: (n, P) of the same, see `sound_statistics`.
        actors: (n,) who speaks.
        share: Of the E dimensions; at least one is chosen.

    Returns:
        Their numbers, in rising order.

    Raises:
        ConfigError: There are fewer than three actors.
    """
    who = sorted(set(actors))
    if len(who) < 3:
        raise ConfigError(
            f"teaching.general_share needs three training actors or more, to predict each from others; there are "
            f"{len(who)}."
        )
    names, targets = np.asarray(actors), np.asarray(embedding, np.float64)
    told = []
    for start in range(min(NUM_GROUPS, len(who))):
        other = np.isin(names, who[start::NUM_GROUPS])
        told.append(ridge_r2(sound[~other], targets[~other], names[~other].tolist(), sound[other], targets[other]))
    r2 = np.nan_to_num(np.mean(told, axis=0), nan=-np.inf)  # of a constant dimension nothing can be told
    count = max(round(share * embedding.shape[1]), 1)
    return np.sort(np.argsort(-r2, kind="stable")[:count])
