"""The gain of a student: its UAR minus that of its control, each over the clips of all runs (folds, seeds) pooled."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from crossmodal.evaluation.metrics import Interval, check_same_clips, draw_actors, percentiles, pool, resample, uar
from crossmodal.evaluation.predictions import Predictions

LEAST_ACTORS = 6
"""With fewer actors a signed-rank test has no p-value below 0.05."""
MARGIN = 2.0
"""Points of UAR by which a student must be better than its control on validation to be recommended."""
_LEVEL = 0.05

ByActor = Mapping[str, NDArray[np.int64]]
"""A (K, K) confusion matrix for each actor: rows are true classes."""


class Gain(TypedDict):
    """A gain in points of UAR.

    `ci95_pp` is a bootstrap over actors, None for fewer than three. `p` is two-sided, and `actors` counts the actors
    that the test ranks. `by_actor_pp` is the gain of each actor.
    """

    gain_pp: float
    ci95_pp: Interval | None
    p: float
    actors: int
    by_actor_pp: dict[str, float]


def measure_gain(students: Sequence[Predictions], controls: Sequence[Predictions]) -> Gain:
    """Compute the gain of students over their controls in one or more runs (fold and seed), pooled; see `mean_gain`.

    Both sides have the same runs in the same order.

    Raises:
        ValueError: If the numbers of runs differ, or a student and its control were not evaluated on the same clips.

    Examples:
        >>> targets, guesses = np.array([0, 0, 1, 1]), np.eye(2)[[0, 1, 1, 1]]
        >>> control = Predictions(("a", "b"), list("wxyz"), ["01"] * 4, ["test"] * 4, targets, guesses)
        >>> student = Predictions(("a", "b"), list("wxyz"), ["01"] * 4, ["test"] * 4, targets, np.eye(2)[targets])
        >>> measure_gain([student], [control])["gain_pp"]
        25.0
    """
    for student, control in zip(students, controls, strict=True):
        check_same_clips("A gain needs the student and its control", student, control)
    return mean_gain([(pool(students).confusion_by_actor(), pool(controls).confusion_by_actor())])


def mean_gain(comparisons: Sequence[tuple[ByActor, ByActor]]) -> Gain:
    """Compute the mean gain over one or more comparisons that answer one question with different models.

    The interval is a bootstrap over actors. All sides use the same draws, so differences between actors cancel. The
    p-value is Wilcoxon's signed-rank test over actors, each with the mean of their gains. Actors with no gain are
    ranked as well (Pratt 1959): leaving them out would hide that they do not change. Comparisons, pairs of students and
    controls that are pooled over runs, may have different actors and different numbers of classes.

    Examples:
        >>> right, half = np.diag([4, 4]), np.full((2, 2), 2)
        >>> mean_gain([({"01": right, "02": half}, {"01": half, "02": half})])["by_actor_pp"]
        {'01': 50.0, '02': 0.0}
    """
    actors = sorted({actor for ours, theirs in comparisons for actor in (*ours, *theirs)})
    by_actor = {}
    for actor in actors:
        both = [(ours[actor], theirs[actor]) for ours, theirs in comparisons if actor in ours and actor in theirs]
        if both:
            by_actor[actor] = 100 * float(np.mean([float(uar(one) - uar(other)) for one, other in both]))
    # Rounded, so that gains which are equal by arithmetic are equal in ranks.
    ranked = np.round(list(by_actor.values()), 7)
    p_value = float(wilcoxon(ranked, zero_method="pratt").pvalue) if ranked.any() else 1.0
    mean, interval = _mean_and_interval(comparisons, actors, len(by_actor))
    return Gain(gain_pp=mean, ci95_pp=interval, p=p_value, actors=len(by_actor), by_actor_pp=by_actor)


class Recommendation(TypedDict):
    """The recommended model, ``student`` or ``control``, with the gain on validation and its margin in points."""

    model: Literal["student", "control"]
    val_gain_pp: float
    margin_pp: float


def recommend(student: Predictions, control: Predictions) -> Recommendation:
    """Recommend the student if its gain on the validation clips is above `MARGIN`, and otherwise its control.

    The inputs must be predictions of validation clips: a choice on test clips would make the test UAR too high.

    Raises:
        ValueError: If the predictions are not of the same clips, or not only of validation clips.
    """
    if {*student.splits, *control.splits} != {"val"}:
        raise ValueError("A recommendation looks at validation clips only.")
    gain = measure_gain([student], [control])["gain_pp"]
    return Recommendation(model="student" if gain > MARGIN else "control", val_gain_pp=round(gain, 2), margin_pp=MARGIN)


def decide(gain: Gain) -> Literal["more", "less", "open"]:
    """Return ``more`` or ``less`` if p is below 0.05 and there is an interval that excludes zero, else ``open``."""
    interval = gain["ci95_pp"]
    if interval is None or gain["p"] >= _LEVEL or interval[0] <= 0 <= interval[1]:
        return "open"
    return "more" if interval[0] > 0 else "less"


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of a family of tests with Holm's step-down method (Holm, Scand. J. Stat. 1979).

    The chance of one or more false rejections at a level is at most that level.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.minimum(1, np.arange(len(p_values), 0, -1) * np.asarray(p_values, np.float64)[order])
    return [float(value) for value in np.maximum.accumulate(steps)[np.argsort(order)]]


def _mean_and_interval(
    comparisons: Sequence[tuple[ByActor, ByActor]], actors: Sequence[str], paired: int
) -> tuple[float, Interval | None]:
    """Compute the mean gain and its interval in points, with the same drawn actors on both sides."""
    counts, gains, drawn = draw_actors(len(actors)), [], []
    for pair in comparisons:
        sides = [_stack(side, actors) for side in pair]
        gains.append(float(np.subtract(*(uar(side.sum(axis=0)) for side in sides))))
        drawn.append(np.subtract(*(uar(resample(side, counts)) for side in sides)))
    with warnings.catch_warnings():  # a draw without any actor of a comparison ignores the comparison
        warnings.filterwarnings("ignore", "Mean of empty slice")
        return 100 * float(np.mean(gains)), percentiles(100 * np.nanmean(np.stack(drawn), axis=0), paired)


def _stack(side: ByActor, actors: Sequence[str]) -> NDArray[np.int64]:
    """Return (A, K, K) matrices, with zeros for an actor that the side does not have."""
    empty = np.zeros_like(next(iter(side.values())))
    return np.stack([side.get(actor, empty) for actor in actors])
