"""One kind of model against another, actor by actor, over any number of comparisons of the same question."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, wilcoxon

from crossmodal.studies.statistics import Interval, draw_actors, percentiles, resample, uar

LEAST_ACTORS = 6
"""With fewer, no signed-rank test has a p below 0.05."""
_LEVEL = 0.05

ByActor = Mapping[str, NDArray[np.int64]]
"""A (K, K) confusion matrix for each actor: rows are true classes."""


class Difference(TypedDict):
    """In points of UAR, mean over the comparisons; `p` is two-sided, `actors` are those that it ranks.

    `by_actor_pp` is each actor's own, or, where the two sides are not paired, empty.
    """

    gain_pp: float
    ci95_pp: Interval
    p: float
    actors: int
    by_actor_pp: dict[str, float]


def paired_difference(pairs: Sequence[tuple[ByActor, ByActor]]) -> Difference:
    """UAR of the first of each pair minus UAR of the second, mean over the pairs.

    The interval is a bootstrap over actors, the same for both and for all pairs: what is hard about an actor is hard
    for all, and cancels. p is Wilcoxon's signed-rank test over the actors, each with the mean of their differences;
    actors without any are ranked with the others (Pratt 1959).

    Args:
        pairs: One or more; not every actor need be in every pair, and pairs may have other numbers of classes.

    Example:
        >>> import numpy as np
        >>> right, half = np.diag([4, 4]), np.full((2, 2), 2)
        >>> paired_difference([({"01": right, "02": half}, {"01": half, "02": half})])["by_actor_pp"]
        {'01': 50.0, '02': 0.0}
    """
    actors = sorted({actor for ours, theirs in pairs for actor in (*ours, *theirs)})
    counts = draw_actors(len(actors))
    gains, drawn = [], []
    for pair in pairs:
        sides = [_stack(side, actors) for side in pair]
        gains.append(float(np.subtract(*(uar(side.sum(axis=0)) for side in sides))))
        drawn.append(np.subtract(*(uar(resample(side, counts)) for side in sides)))
    by_actor = {actor: 100 * float(np.mean(_of_actor(pairs, actor))) for actor in actors if _of_actor(pairs, actor)}
    # Rounded, so that gains which are equal by arithmetic are equal in ranks.
    ranked = np.round(list(by_actor.values()), 7)
    p_value = float(wilcoxon(ranked, zero_method="pratt").pvalue) if ranked.any() else 1.0
    return _difference(gains, drawn, p_value, by_actor, len(by_actor))


def unpaired_difference(pairs: Sequence[tuple[ByActor, ByActor]]) -> Difference:
    """The same where the two sides are of other people or other clips.

    The interval draws the actors of each side apart; p is the Mann-Whitney test of the UAR of each actor of one side
    against those of the other, each the mean over the pairs.

    Args:
        pairs: One or more.
    """
    gains, drawn = [], []
    people = [sorted({actor for pair in pairs for actor in pair[side]}) for side in (0, 1)]
    counts = [draw_actors(len(actors), seed) for seed, actors in enumerate(people)]
    for pair in pairs:
        sides = [_stack(side, actors) for side, actors in zip(pair, people, strict=True)]
        gains.append(float(np.subtract(*(uar(side.sum(axis=0)) for side in sides))))
        drawn.append(np.subtract(*(uar(resample(side, drawn_)) for side, drawn_ in zip(sides, counts, strict=True))))
    by_actor = [
        [float(np.mean([uar(pair[side][actor]) for pair in pairs if actor in pair[side]])) for actor in people[side]]
        for side in (0, 1)
    ]
    p_value = float(mannwhitneyu(*(np.round(values, 9) for values in by_actor)).pvalue)
    return _difference(gains, drawn, p_value, {}, len({*people[0], *people[1]}))


def decide(difference: Difference) -> Literal["more", "less", "open"]:
    """What can be claimed: only that on which the test and the interval agree.

    Args:
        difference: See `paired_difference`.

    Returns:
        ``more`` or ``less`` where p is below 0.05 and zero lies outside of the interval, on that side.
    """
    low, high = difference["ci95_pp"]
    if difference["p"] >= _LEVEL or low <= 0 <= high:
        return "open"
    return "more" if low > 0 else "less"


def _difference(
    gains: Sequence[float],
    drawn: Sequence[NDArray[np.float64]],
    p_value: float,
    by_actor: dict[str, float],
    actors: int,
) -> Difference:
    with warnings.catch_warnings():  # a draw without any actor of a pair leaves the pair out
        warnings.filterwarnings("ignore", "Mean of empty slice")
        low, high = percentiles(np.nanmean(np.stack(drawn), axis=0))
    interval = (100 * low, 100 * high)
    gain = 100 * float(np.mean(gains))
    return Difference(gain_pp=gain, ci95_pp=interval, p=p_value, actors=actors, by_actor_pp=by_actor)


def _of_actor(pairs: Sequence[tuple[ByActor, ByActor]], actor: str) -> list[float]:
    both = [(ours[actor], theirs[actor]) for ours, theirs in pairs if actor in ours and actor in theirs]
    return [float(uar(one) - uar(other)) for one, other in both]


def _stack(side: ByActor, actors: Sequence[str]) -> NDArray[np.int64]:
    """(A, K, K), zeros for an actor who is not there."""
    nobody = np.zeros_like(next(iter(side.values())))
    return np.stack([side.get(actor, nobody) for actor in actors])
