"""Metrics with their uncertainty. Actors, not clips, are the independent things: they are what is resampled."""

from typing import TypedDict

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torchmetrics.functional.classification import multiclass_calibration_error

from crossmodal.studies.predictions import Predictions

RESAMPLES = 10_000
Interval = tuple[float, float]


class Metrics(TypedDict):
    """Of one model on one split; fractions, higher is better but for `ece`."""

    uar: float
    war: float
    f1: float
    ece: float
    uar_ci95: Interval


def uar(confusion: ArrayLike) -> NDArray[np.float64]:
    """Unweighted average recall: the mean over the classes that occur of the share of each that was found.

    Args:
        confusion: (..., K, K) with true classes in rows.

    Returns:
        (...) fractions; nan where there is no clip at all.

    Example:
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
    """Weighted average recall, which is accuracy, of (..., K, K) confusion matrices.

    Example:
        >>> round(float(war([[9, 1], [1, 1]])), 4)
        0.8333
    """
    matrix = np.asarray(confusion, np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1)))


def macro_f1(confusion: ArrayLike) -> float:
    """Mean F1 over the classes that occur, of a (K, K) confusion matrix.

    Example:
        >>> round(macro_f1([[9, 1], [1, 1]]), 4)
        0.7
    """
    matrix = np.asarray(confusion, np.float64)
    true, guessed = matrix.sum(axis=1), matrix.sum(axis=0)
    f1 = 2 * np.diagonal(matrix) / np.maximum(true + guessed, 1)
    return float(f1[true > 0].mean())


def describe(predictions: Predictions) -> Metrics:
    """All metrics of predictions, with the interval of UAR over actors."""
    confusion = predictions.confusion()
    ece = multiclass_calibration_error(
        torch.from_numpy(predictions.probabilities),
        torch.from_numpy(predictions.targets),
        num_classes=len(predictions.labels),
    )
    return Metrics(
        uar=float(uar(confusion)),
        war=float(war(confusion)),
        f1=macro_f1(confusion),
        ece=float(ece),
        uar_ci95=uar_interval(predictions),
    )


def uar_interval(predictions: Predictions) -> Interval:
    """95 % percentile interval of UAR by bootstrap over actors."""
    drawn = _resample(np.stack(list(predictions.confusion_by_actor().values())))
    return _percentiles(uar(drawn))


def uar_gain(student: Predictions, control: Predictions) -> tuple[float, Interval]:
    """UAR of the student minus UAR of its control, with the 95 % interval by bootstrap over their common actors.

    The same actors are drawn for both: what is hard about an actor is hard for both, and cancels.

    Returns:
        The gain and its interval, as fractions.

    Raises:
        ValueError: They were not evaluated on the same clips.
    """
    if sorted(student.clips) != sorted(control.clips):
        raise ValueError("A gain needs the student and its control on the same clips.")
    ours, theirs = student.confusion_by_actor(), control.confusion_by_actor()
    pairs = np.stack([np.stack([ours[actor], theirs[actor]]) for actor in ours])
    drawn = uar(_resample(pairs))
    return float(uar(student.confusion()) - uar(control.confusion())), _percentiles(drawn[:, 0] - drawn[:, 1])


def _resample(per_actor: NDArray[np.int64], seed: int = 0) -> NDArray[np.float64]:
    """Sums over as many actors as there are, drawn with replacement: (A, ...) to (RESAMPLES, ...)."""
    actors = len(per_actor)
    counts = np.random.default_rng(seed).multinomial(actors, np.full(actors, 1 / actors), size=RESAMPLES)
    drawn = counts.astype(np.float64) @ per_actor.reshape(actors, -1).astype(np.float64)
    return drawn.reshape(RESAMPLES, *per_actor.shape[1:])


def _percentiles(values: NDArray[np.float64]) -> Interval:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
