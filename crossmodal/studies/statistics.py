"""Metrics with their uncertainty. Actors, not clips, are the independent things: they are what is resampled."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import wilcoxon
from torchmetrics.functional.classification import multiclass_calibration_error

from crossmodal.studies.predictions import Predictions

RESAMPLES = 10_000
_LEAST = 5e-7  # half of the last digit of a probability in predictions.csv: what is written 0 is not quite impossible
_BINS = 15  # of confidence, as many as torchmetrics takes
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
    matrix = np.asarray(confusion)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1)))


def macro_f1(confusion: ArrayLike) -> float:
    """Mean F1 over the classes that occur, of a (K, K) confusion matrix.

    Example:
        >>> round(macro_f1([[9, 1], [1, 1]]), 4)
        0.7
    """
    matrix = np.asarray(confusion)
    true, guessed = matrix.sum(axis=1), matrix.sum(axis=0)
    occurs = true > 0
    return float((2 * np.diagonal(matrix)[occurs] / (true + guessed)[occurs]).mean())


def describe(predictions: Predictions) -> Metrics:
    """All metrics of predictions, with the interval of UAR over actors."""
    confusion = predictions.confusion()
    return Metrics(
        uar=float(uar(confusion)),
        war=float(war(confusion)),
        f1=macro_f1(confusion),
        ece=calibration_error(predictions),
        uar_ci95=uar_interval(predictions),
    )


def calibration_error(predictions: Predictions) -> float:
    """The mean distance between how sure a model is and how often it is right, over 15 bins of confidence; 0 to 1."""
    ece = multiclass_calibration_error(
        torch.from_numpy(predictions.probabilities),
        torch.from_numpy(predictions.targets),
        num_classes=len(predictions.labels),
    )
    return float(ece)


def reliability(predictions: Predictions) -> tuple[NDArray[np.float64], ...]:
    """How right the model is where it is so sure; `describe`'s ``ece`` is the mean distance, weighted by share.

    Returns:
        Mean confidence, accuracy and share of the clips, (n,) each, of those of 15 equal bins of confidence that hold a
        clip; fractions.
    """
    confidence = predictions.probabilities.max(axis=1)
    right = predictions.probabilities.argmax(axis=1) == predictions.targets
    place = np.minimum(np.ceil(confidence * _BINS), _BINS).astype(int)
    clips = np.bincount(place)
    sums = [np.bincount(place, weights=values)[clips > 0] for values in (confidence, right)]
    return (*(total / clips[clips > 0] for total in sums), clips[clips > 0] / clips.sum())


def uar_interval(predictions: Predictions) -> Interval:
    """95 % percentile interval of UAR by bootstrap over actors."""
    per_actor = np.stack(list(predictions.confusion_by_actor().values()))
    return percentiles(uar(resample(per_actor, draw_actors(len(per_actor)))))


def uar_gain(student: Predictions, control: Predictions) -> tuple[float, Interval]:
    """UAR of the student minus UAR of its control, with the 95 % interval by bootstrap over their common actors.

    The same actors are drawn for both: what is hard about an actor is hard for both, and cancels.

    Returns:
        The gain and its interval, as fractions.

    Raises:
        ValueError: They were not evaluated on the same clips.
    """
    _check_same_clips("A gain needs the student and its control", student, control)
    ours, theirs = student.confusion_by_actor(), control.confusion_by_actor()
    pairs = np.stack([np.stack([ours[actor], theirs[actor]]) for actor in ours])
    drawn = uar(resample(pairs, draw_actors(len(pairs))))
    return float(uar(student.confusion()) - uar(control.confusion())), percentiles(drawn[:, 0] - drawn[:, 1])


def gain_by_actor(students: Sequence[Predictions], controls: Sequence[Predictions]) -> dict[str, float]:
    """UAR of each actor with the student minus that with its control, mean over the runs that heard the actor.

    Args:
        students: One of each run, a fold with a seed.
        controls: Those of the same runs, in the same order.

    Returns:
        Fractions from -1 to 1, by actor.

    Raises:
        ValueError: There are not as many, or a pair of them was not evaluated on the same clips.
    """
    gains: dict[str, list[float]] = {}
    for student, control in zip(students, controls, strict=True):
        _check_same_clips("A gain needs the student and its control", student, control)
        theirs = control.confusion_by_actor()
        for actor, ours in student.confusion_by_actor().items():
            gains.setdefault(actor, []).append(float(uar(ours) - uar(theirs[actor])))
    return {actor: float(np.mean(values)) for actor, values in sorted(gains.items())}


def wilcoxon_by_actor(students: Sequence[Predictions], controls: Sequence[Predictions]) -> float:
    """Whether the gain differs from nothing, by the signed-rank test (Wilcoxon 1945) over `gain_by_actor`.

    Actors without any gain are ranked with the others (Pratt 1959): an actor whom teaching leaves as they were is
    evidence that it does little, which leaving them out would hide.

    Args:
        students: As for `gain_by_actor`.
        controls: As for `gain_by_actor`.

    Returns:
        The two-sided p-value, from 0 to 1; 1 where no actor gains or loses. With fewer than 6 actors it is never below
        0.05.

    Raises:
        ValueError: As `gain_by_actor`.
    """
    # Rounded, so that gains which are equal by arithmetic are equal in ranks.
    gains = np.round(list(gain_by_actor(students, controls).values()), 9)
    return float(wilcoxon(gains, zero_method="pratt").pvalue) if gains.any() else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for how many there are, by Holm's step-down method (Holm, Scand. J. Stat. 1979).

    Args:
        p_values: From 0 to 1, of the questions that were asked together.

    Returns:
        For each the smallest level at which its question is answered with yes, from 0 to 1; the chance that even one
        yes is wrong is then below that level.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    level = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        level = max(level, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = level
    return corrected


def late_fusion(first: Predictions, second: Predictions) -> Predictions:
    """What two models say together: the product of their probabilities, renormalised (Hinton 2002).

    Args:
        first: One model's; the clips stay in its order.
        second: The other's, on the same clips.

    Returns:
        Predictions with rows that sum to one.

    Raises:
        ValueError: They were not evaluated on the same clips.
    """
    _check_same_clips("A late fusion needs both models", first, second)
    place = {clip: row for row, clip in enumerate(second.clips)}
    rows = [place[clip] for clip in first.clips]
    product = np.maximum(first.probabilities, _LEAST) * np.maximum(second.probabilities[rows], _LEAST)
    return replace(first, probabilities=product / product.sum(axis=1, keepdims=True))


def pool(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of several runs as those of one: a clip counts once for each run that heard it.

    Args:
        parts: One or more, with the same labels.
    """
    return Predictions(
        parts[0].labels,
        [clip for part in parts for clip in part.clips],
        [actor for part in parts for actor in part.actors],
        [split for part in parts for split in part.splits],
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
    )


def _check_same_clips(what: str, one: Predictions, other: Predictions) -> None:
    if sorted(one.clips) != sorted(other.clips):
        raise ValueError(f"{what} on the same clips.")


def draw_actors(actors: int, seed: int = 0) -> NDArray[np.float64]:
    """How often each of so many actors is drawn, with replacement: (RESAMPLES, actors) whole numbers."""
    counts = np.random.default_rng(seed).multinomial(actors, np.full(actors, 1 / actors), size=RESAMPLES)
    return counts.astype(np.float64)


def resample(per_actor: NDArray[np.int64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over drawn actors: (A, ...) by (RESAMPLES, A) counts to (RESAMPLES, ...)."""
    drawn = counts @ per_actor.reshape(len(per_actor), -1).astype(np.float64)
    return drawn.reshape(len(counts), *per_actor.shape[1:])


def percentiles(values: NDArray[np.float64]) -> Interval:
    """What lies between is the middle 95 % of the values; nan are left out."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
