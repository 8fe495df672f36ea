"""Similarity of two models, or of how well one predicts the other, on numpy arrays with one row per clip."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

Array = NDArray[np.float64]
Measure = Callable[[Array, Array], float]

# In units in which the mean squared length of a clip's standardised features is one.
RIDGE_STRENGTHS = tuple(float(strength) for strength in np.logspace(-3, 4, 15))
CARRIED_R2 = 0.05
"""R^2 above which a dimension of a face counts as predictable from sound."""
CARRIED_SHARE = 0.10
"""The least share of such dimensions with which sound carries something of the face."""
_TINY = 1e-12


def linear_cka(first: Array, second: Array) -> float:
    """Compute linear centred kernel alignment, from 0 to 1 (Kornblith et al. 2019); 0 where one side is constant.

    It is invariant to rotation, shift and isotropic scaling of either side, (n, D1) and (n, D2). With few clips and
    many dimensions it is far above zero even for unrelated embeddings: compare it with `shuffled`.
    """
    one, other = first - first.mean(axis=0), second - second.mean(axis=0)
    norms = np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other)
    return float(np.linalg.norm(one.T @ other) ** 2 / norms) if norms > _TINY else 0.0


def mutual_knn(first: Array, second: Array, k: int = 10) -> float:
    """Compute the mean share of a clip's k nearest neighbours that both sides have in common (Huh et al. 2024).

    Neighbours are by cosine similarity after the mean of all clips is subtracted; without that, mostly positive
    embeddings would all have the same direction. By chance the share is k / (n - 1).
    """
    n = len(first)
    k = min(k, n - 1)
    if k < 1:
        return 0.0
    is_neighbour = []
    for embedding in (first, second):
        centred = embedding - embedding.mean(axis=0)
        direction = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), _TINY)
        similarity = direction @ direction.T
        np.fill_diagonal(similarity, -np.inf)
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        is_neighbour.append(np.zeros((n, n), np.bool_))
        np.put_along_axis(is_neighbour[-1], nearest, True, axis=1)
    return float((is_neighbour[0] & is_neighbour[1]).sum() / (n * k))


def shuffled(
    measure: Measure,
    first: Array,
    second: Array,
    within: NDArray[np.int64] | None = None,
    draws: int = 20,
    seed: int = 0,
) -> float:
    """Compute the mean of a measure with the clips of one side shuffled: its value for unrelated embeddings.

    No clip is paired with itself, unless it is the only one of its class. With classes, (n,), in `within`, clips are
    shuffled within their class, which leaves what the class explains.
    """
    rng = np.random.default_rng(seed)
    classes = np.zeros(len(first), np.int64) if within is None else within
    values = []
    for _ in range(draws):
        order = np.arange(len(first))
        for name in np.unique(classes):
            rows = np.flatnonzero(classes == name)
            ring = rng.permutation(rows)
            order[ring] = np.roll(ring, 1)
        values.append(measure(first[order], second))
    return float(np.mean(values))


def non_target_divergence(teacher_logits: Array, student_logits: Array, targets: NDArray[np.int64]) -> float:
    """Compute the mean KL(teacher || student) in nats over the classes that are not the target, from (n, K > 2) logits.

    The non-target divergence hypothesis (see docs/preflight.md): the smaller it is, the better a student can follow
    the soft labels of the teacher.
    """
    n, num_classes = teacher_logits.shape
    others = np.arange(num_classes)[None, :] != targets[:, None]
    teacher, student = (
        log_softmax(logits[others].reshape(n, num_classes - 1), axis=1) for logits in (teacher_logits, student_logits)
    )
    return float((np.exp(teacher) * (teacher - student)).sum(axis=1).mean())


def mean_entropy(logits: Array) -> float:
    """Compute the mean entropy of the softmax of (n, K) logits in nats, from 0 to ln K."""
    log_probabilities = log_softmax(logits, axis=1)
    return float(-(np.exp(log_probabilities) * log_probabilities).sum(axis=1).mean())


def cohen_kappa(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Compute the agreement of two raters beyond chance from their (n,) classes (Cohen 1960).

    It is 1 for full agreement, 0 for chance, and 0 where both use only one and the same class.
    """
    observed = float((first == second).mean())
    by_chance = sum(float((first == name).mean() * (second == name).mean()) for name in np.union1d(first, second))
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 - _TINY else 0.0


def ridge_r2(
    x: Array, y: Array, groups: Sequence[str], new_x: Array, new_y: Array, strengths: Sequence[float] = RIDGE_STRENGTHS
) -> Array:
    """Compute R^2 of ridge regression for each dimension of unseen actors, (D,); nan where `new_y` is constant.

    The strength is chosen for each dimension by leave-one-group-out cross-validation over two or more actors
    (`groups`). Features, (n, P), are standardised with the statistics of the training clips.
    """
    names = np.asarray(groups)
    if len(np.unique(names)) < 2:
        raise ValueError("Leaving one group out needs two or more groups.")
    errors = np.zeros((len(strengths), y.shape[1]))
    for name in np.unique(names):
        left_out = names == name
        predicted = _ridge_predictions(x[~left_out], y[~left_out], x[left_out], strengths)
        errors += ((predicted - y[left_out]) ** 2).sum(axis=1)
    best = errors.argmin(axis=0)
    predicted = _ridge_predictions(x, y, new_x, strengths)
    return r2(predicted[best, :, np.arange(y.shape[1])].T, new_y)


def r2(predicted: Array, true: Array) -> Array:
    """Compute R^2 for each column, (D,); nan where a column of `true`, (n, D), is constant."""
    total = ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    missed = ((true - predicted) ** 2).sum(axis=0)
    varies = total > _TINY * np.maximum(1, (true**2).sum(axis=0))
    return np.where(varies, 1 - missed / np.where(varies, total, 1), np.nan)


def center_by_group(values: Array, groups: Sequence[str]) -> Array:
    """Subtract the mean of its group from each row of (n, D) values."""
    index = np.unique(groups, return_inverse=True)[1]
    return residualize(values, index, values, index)[0]


def residualize(
    y: Array, classes: NDArray[np.int64], new_y: Array, new_classes: NDArray[np.int64]
) -> tuple[Array, Array]:
    """Subtract the mean of each clip's class from y, (n, D), and new_y, (m, D).

    The means are those of y. A class that is missing in y has the mean of all rows of y.
    """
    means = {name: y[classes == name].mean(axis=0) for name in np.unique(classes)}
    overall = y.mean(axis=0)

    def expected(names: NDArray[np.int64]) -> Array:
        return np.stack([means.get(name, overall) for name in names])

    return y - expected(classes), new_y - expected(new_classes)


class Predicted(NamedTuple):
    """Clips: statistics of their sound, (n, P), their face features, (n, D), and their actors and classes, (n,)."""

    sound: Array
    face: Array
    actors: Sequence[str]
    targets: NDArray[np.int64]


def r2_within_actor(train: Predicted, val: Predicted) -> tuple[Array, Array]:
    """Compute R^2 on unseen actors of what sound predicts within an actor, (D,), and beyond the label, (D,).

    Sound and face have the mean of their actor subtracted; beyond the label, the face also that of its class.
    """
    own, new_own = (center_by_group(side.face, side.actors) for side in (train, val))
    rest, new_rest = residualize(own, train.targets, new_own, val.targets)
    sound, new_sound = (center_by_group(side.sound, side.actors) for side in (train, val))
    both, new_both = np.hstack([own, rest]), np.hstack([new_own, new_rest])
    within, beyond = np.split(ridge_r2(sound, both, train.actors, new_sound, new_both), 2)
    return within, beyond


def share_carried(r2_of_dimensions: Array) -> float:
    """Return the share of the varying dimensions that sound predicts with an R^2 above `CARRIED_R2`."""
    varying = r2_of_dimensions[~np.isnan(r2_of_dimensions)]
    return float((varying > CARRIED_R2).mean()) if len(varying) else 0.0


def _ridge_predictions(x: Array, y: Array, new_x: Array, strengths: Sequence[float]) -> Array:
    """Compute predictions for each strength, (S, m, D), with one eigendecomposition of the smaller Gram matrix."""
    mean, std = x.mean(axis=0), x.std(axis=0)
    scale = np.where(std > _TINY, std, np.inf) * np.sqrt(x.shape[1])  # a constant feature carries no information
    x, new_x = (x - mean) / scale, (new_x - mean) / scale
    centred = y - y.mean(axis=0)
    if x.shape[1] <= len(x):
        values, vectors = np.linalg.eigh(x.T @ x)
        left, right = new_x @ vectors, vectors.T @ (x.T @ centred)
    else:
        values, vectors = np.linalg.eigh(x @ x.T)
        left, right = (new_x @ x.T) @ vectors, vectors.T @ centred
    values = np.maximum(values, 0)
    return np.stack([left / (values + strength) @ right for strength in strengths]) + y.mean(axis=0)
