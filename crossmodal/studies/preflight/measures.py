"""The measures of the pre-flight, computed from the outputs of a teacher and a student for the same clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from crossmodal.datasets.clip import Clip
from crossmodal.evaluation import similarity
from crossmodal.evaluation.gain import measure_gain
from crossmodal.evaluation.metrics import uar, uar_interval
from crossmodal.evaluation.predictions import Predictions
from crossmodal.evaluation.similarity import Predicted

NEIGHBOURS = 10
_TOP = 5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Inputs and outputs of both models for labelled clips of one split, one row per clip.

    `sound` is `sound_statistics`; `face_input` is the mean over time of the teacher's input, None for pixels.
    """

    clips: list[Clip]
    targets: NDArray[np.int64]
    teacher_embedding: Array
    teacher_logits: Array
    student_embedding: Array
    student_logits: Array
    sound: Array
    face_input: Array | None = None

    @property
    def actors(self) -> list[str]:
        """The actor of each clip."""
        return [clip.actor for clip in self.clips]

    @property
    def label_and_actor(self) -> NDArray[np.int64]:
        """(n,) integers that are equal for clips of the same class and actor."""
        actors = np.unique(self.actors, return_inverse=True)[1]
        return np.asarray(self.targets * len(self.clips) + actors, np.int64)


def measure(
    train: Pairs, val: Pairs, labels: tuple[str, ...], face_names: Sequence[str] | None = None
) -> dict[str, Any]:
    """Compute all measures of the pre-flight as nested dictionaries for JSON; see docs/preflight.md."""
    divergence = partial(similarity.non_target_divergence, targets=val.targets)
    embeddings, logits = (val.teacher_embedding, val.student_embedding), (val.teacher_logits, val.student_logits)
    return {
        "chance_uar": 1 / len(labels),
        **_measure_accuracy(train, val, labels),
        "agreement": _measure_agreement(val, labels),
        "non_target_divergence": _with_shuffled(divergence, *logits, val),
        "similarity": {
            "linear_cka": _with_shuffled(similarity.linear_cka, *embeddings, val),
            f"mutual_{NEIGHBOURS}nn": _with_shuffled(partial(similarity.mutual_knn, k=NEIGHBOURS), *embeddings, val),
        },
        "sound_carries": _measure_sound(train, val, {"teacher_logits": labels, "face_input": face_names}),
        "teacher_on_training_clips": {
            "entropy": similarity.mean_entropy(train.teacher_logits),
            "entropy_on_validation": similarity.mean_entropy(val.teacher_logits),
            "highest_entropy": float(np.log(len(labels))),
        },
    }


def _measure_accuracy(train: Pairs, val: Pairs, labels: tuple[str, ...]) -> dict[str, Any]:
    fused = log_softmax(val.teacher_logits, axis=1) + log_softmax(val.student_logits, axis=1)  # late fusion
    teacher_correct = val.teacher_logits.argmax(axis=1) == val.targets
    either = np.where(teacher_correct[:, None], val.teacher_logits, val.student_logits)
    logits_of = {"teacher": val.teacher_logits, "student": val.student_logits, "fusion": fused, "oracle": either}
    models = {name: _predictions(val, labels, scores) for name, scores in logits_of.items()}
    numbers: dict[str, Any] = {
        name: {"val": float(uar(model.confusion())), "val_ci95": uar_interval(model)} for name, model in models.items()
    }
    for name, logits in (("teacher", train.teacher_logits), ("student", train.student_logits)):
        numbers[name]["train"] = float(uar(_predictions(train, labels, logits).confusion()))
    gain = measure_gain([models["fusion"]], [models["student"]])
    interval = gain["ci95_pp"] and tuple(bound / 100 for bound in gain["ci95_pp"])
    return {"uar": numbers, "fusion_gain": {"uar": gain["gain_pp"] / 100, "ci95": interval}}


def _predictions(pairs: Pairs, labels: tuple[str, ...], scores: Array) -> Predictions:
    """Return scores as predictions, for metrics that only use the highest score."""
    names = [clip.clip for clip in pairs.clips]
    return Predictions(labels, names, pairs.actors, ["val"] * len(names), pairs.targets, scores)


def _measure_agreement(val: Pairs, labels: tuple[str, ...]) -> dict[str, Any]:
    teacher, student = (logits.argmax(axis=1) for logits in (val.teacher_logits, val.student_logits))
    teacher_right, student_right = teacher == val.targets, student == val.targets
    kinds = {
        "both_right": teacher_right & student_right,
        "only_teacher_right": teacher_right & ~student_right,
        "only_student_right": ~teacher_right & student_right,
        "both_wrong": ~teacher_right & ~student_right,
    }
    return {
        "share": float((teacher == student).mean()),
        "kappa": similarity.cohen_kappa(teacher, student),
        "student_errors_that_teacher_gets_right": _mean(teacher_right[~student_right]),
        "teacher_errors_that_student_gets_right": _mean(student_right[~teacher_right]),
        "clips": {
            label: {kind: int((those & (val.targets == index)).sum()) for kind, those in kinds.items()}
            for index, label in enumerate(labels)
        },
    }


def _with_shuffled(function: similarity.Measure, teacher: Array, student: Array, val: Pairs) -> dict[str, float]:
    """Compute a measure, and its values with teacher clips shuffled: all, within class, and within class and actor."""
    within = {"": None, "_in_label": val.targets, "_in_label_and_actor": val.label_and_actor}
    return {"value": function(teacher, student)} | {
        f"shuffled{name}": similarity.shuffled(function, teacher, student, classes) for name, classes in within.items()
    }


def _measure_sound(train: Pairs, val: Pairs, dimension_names: Mapping[str, Sequence[str] | None]) -> dict[str, Any]:
    """Predict each dimension of the teacher from sound, all in one regression."""
    names = ["teacher_embedding", "teacher_logits", *(["face_input"] if train.face_input is not None else [])]
    y, new_y = (np.concatenate([getattr(pairs, name) for name in names], axis=1) for pairs in (train, val))
    r2 = _r2_from_sound(train, val, y, new_y)
    ends = np.cumsum([getattr(train, name).shape[1] for name in names])
    parts = {kind: np.split(values, ends[:-1]) for kind, values in r2.items()}
    return {
        name: {kind: _describe_dimensions(values[index], dimension_names.get(name)) for kind, values in parts.items()}
        for index, name in enumerate(names)
    }


def _r2_from_sound(train: Pairs, val: Pairs, y: Array, new_y: Array) -> dict[str, Array]:
    """Return the R^2 of each dimension on validation, (D,), for each kind of prediction."""
    sides = [Predicted(one.sound, face, one.actors, one.targets) for one, face in ((train, y), (val, new_y))]
    within, beyond = similarity.r2_within_actor(*sides)
    own, new_own = (similarity.center_by_group(side.face, side.actors) for side in sides)
    _, new_rest = similarity.residualize(own, train.targets, new_own, val.targets)
    return {
        "across_actors": similarity.ridge_r2(train.sound, y, train.actors, val.sound, new_y),
        "within_actor": within,
        "beyond_label": beyond,
        "label_alone": similarity.r2(new_own - new_rest, new_own),
    }


def _describe_dimensions(r2: Array, names: Sequence[str] | None) -> dict[str, Any]:
    """Summarise the R^2 of the dimensions that vary on validation; None for the others."""
    varying = r2[~np.isnan(r2)]
    best = np.argsort(-r2)[: min(_TOP, len(varying))]  # nan comes last
    labels = list(names or map(str, range(len(r2))))
    return {
        "dimensions": len(varying),
        "median": float(np.median(varying)) if len(varying) else None,
        "share_carried": similarity.share_carried(r2),
        "top": [{"dimension": labels[index], "r2": float(r2[index])} for index in best],
        "r2": [None if np.isnan(value) else float(value) for value in r2],
    }


def _mean(those: NDArray[np.bool_]) -> float | None:
    return float(those.mean()) if len(those) else None
