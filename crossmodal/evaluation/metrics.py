"""Metrics and their confidence intervals. Actors are the independent units, so actors are resampled, not clips."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torchmetrics.functional.classification import multiclass_calibration_error

from crossmodal.evaluation.predictions import SMALLEST_PROBABILITY, Predictions

RESAMPLES = 10_000
LEAST_FOR_INTERVAL = 3
"""With fewer actors there is no interval: a bootstrap over one or two actors has at most three distinct samples."""
Interval = tuple[float, float]


class Metrics(TypedDict):
    """Metrics of one model on one split, as fractions. Higher is better, except for `ece`."""

    uar: float
    war: float
    f1: float
    ece: float
    uar_ci95: Interval | None


def uar(confusion: ArrayLike) -> NDArray[np.float64]:
    """Compute the unweighted average recall (UAR), the mean recall over the classes that occur.

    Confusion matrices, (..., K, K), have true classes in rows. The result, (...), is nan where there are no clips.

    Examples:
        >>> float(uar([[9, 1], [1, 1]]))
        0.7
    """
    matrix = np.asarray(confusion, np.float64)
    total = matrix.sum(axis=-1)
    found = np.diagonal(matrix, axis1=-2, axis2=-1)
    occurs = total > 0
    recall = np.divide(found, total, out=np.zeros_like(total), where=occurs)
    with np.errstate(invalid="ignore"):
        return np.asarray(recall.sum(axis=-1) / occurs.sum(axis=-1))


def war(confusion: ArrayLike) -> NDArray[np.float64]:
    """Compute the weighted average recall (WAR), which is accuracy, of (..., K, K) confusion matrices.

    Examples:
        >>> round(float(war([[9, 1], [1, 1]])), 4)
        0.8333
    """
    matrix = np.asarray(confusion)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1)))


def macro_f1(confusion: ArrayLike) -> float:
    """Compute the mean F1 over the classes that occur in a (K, K) confusion matrix.

    Examples:
        >>> round(macro_f1([[9, 1], [1, 1]]), 4)
        0.7
    """
    matrix = np.asarray(confusion)
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    occurs = true > 0
    return float((2 * np.diagonal(matrix)[occurs] / (true + predicted)[occurs]).mean())


def describe(predictions: Predictions) -> Metrics:
    """Compute all metrics of predictions, with the interval of UAR over actors."""
    confusion = predictions.confusion()
    return Metrics(
        uar=float(uar(confusion)),
        war=float(war(confusion)),
        f1=macro_f1(confusion),
        ece=calibration_error(predictions),
        uar_ci95=uar_interval(predictions),
    )


def calibration_error(predictions: Predictions) -> float:
    """Compute the expected calibration error over 15 bins of confidence, from 0 to 1."""
    ece = multiclass_calibration_error(
        torch.from_numpy(predictions.probabilities),
        torch.from_numpy(predictions.targets),
        num_classes=len(predictions.labels),
    )
    return float(ece)


def uar_interval(predictions: Predictions) -> Interval | None:
    """Compute the 95 % percentile interval of UAR by bootstrap over actors; None below `LEAST_FOR_INTERVAL` actors."""
    per_actor = np.stack(list(predictions.confusion_by_actor().values()))
    return percentiles(uar(resample(per_actor, draw_actors(len(per_actor)))), len(per_actor))


def late_fusion(first: Predictions, second: Predictions) -> Predictions:
    """Fuse two models: the product of their probabilities, renormalised (Hinton 2002), in the order of the first.

    Raises:
        ValueError: If they were not evaluated on the same clips.
    """
    check_same_clips("A late fusion needs both models", first, second)
    row_of = {clip: row for row, clip in enumerate(second.clips)}
    rows = [row_of[clip] for clip in first.clips]
    floor = SMALLEST_PROBABILITY
    product = np.maximum(first.probabilities, floor) * np.maximum(second.probabilities[rows], floor)
    return replace(first, probabilities=product / product.sum(axis=1, keepdims=True))


def pool(parts: Sequence[Predictions]) -> Predictions:
    """Join the predictions of one or more runs with the same labels. A clip counts once for each of its runs."""
    clips, actors, splits = (
        [one for part in parts for one in getattr(part, name)] for name in ("clips", "actors", "splits")
    )
    targets, probabilities = np.concatenate([part.targets for part in parts]), [part.probabilities for part in parts]
    return Predictions(parts[0].labels, clips, actors, splits, targets, np.concatenate(probabilities))


def check_same_clips(message: str, one: Predictions, other: Predictions) -> None:
    """Raise ValueError if two models were not evaluated on the same clips."""
    if sorted(one.clips) != sorted(other.clips):
        raise ValueError(f"{message} on the same clips.")


def draw_actors(actors: int, seed: int = 0) -> NDArray[np.float64]:
    """Draw actors with replacement. Returns the counts of each draw, (RESAMPLES, actors)."""
    counts = np.random.default_rng(seed).multinomial(actors, np.full(actors, 1 / actors), size=RESAMPLES)
    return counts.astype(np.float64)


def resample(per_actor: NDArray[np.int64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum values of shape (A, ...) over drawn actors, with (RESAMPLES, A) counts, to (RESAMPLES, ...)."""
    drawn = counts @ per_actor.reshape(len(per_actor), -1).astype(np.float64)
    return drawn.reshape(len(counts), *per_actor.shape[1:])


def percentiles(values: NDArray[np.float64], actors: int) -> Interval | None:
    """Return the 2.5th and 97.5th percentile over draws of actors, None for too few actors; nan are ignored."""
    if actors < LEAST_FOR_INTERVAL:
        return None
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
