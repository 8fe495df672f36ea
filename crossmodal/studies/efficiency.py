"""The numbers of a study of label efficiency: gains by number of labelled actors, and the labels that they save."""

from collections.abc import Iterator, Sequence
from statistics import fmean, median_low
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ConfigError
from crossmodal.evaluation.metrics import Interval, draw_actors, pool, resample, uar, uar_interval
from crossmodal.evaluation.predictions import Predictions
from crossmodal.studies.compare import Effect, correct, effect
from crossmodal.studies.finished import FinishedRun, Setting, notes_on_runs, setting_of


class Needed(TypedDict):
    """Number of labelled actors with which the control reaches a UAR; None is more than `most`, the largest measured.

    It is at least the smallest number of the study. `ci95` is a bootstrap over test actors.
    """

    most: int
    actors: float | None
    ci95: tuple[float | None, float | None] | None


class Point(TypedDict):
    """Test UAR with a number of labelled training actors, None for all."""

    labelled_actors: int | None
    uar: float
    uar_ci95: Interval | None


class Row(Point):
    """A method with a number of labelled actors; UAR as fractions, gains in points of UAR.

    `recommended` is the gain of the models that `fit` recommends over the control, `over_voice` that of the students
    over those of a voice teacher, and `needed` is about the UAR of the row.
    """

    student: str
    method: str
    teacher: str
    runs: int
    control_uar: float
    val_gain_pp: float
    over_control: Effect
    recommended: Effect
    over_voice: Effect | None
    needed: Needed


class Curve(TypedDict):
    """The results of a student: `control` and `rows` are by number of labelled actors.

    `best` is the row that shows the value of the camera, selected on validation; None without a face teacher or without
    a number of labelled actors below all, which are `training_actors`.
    """

    student: str
    training_actors: int
    control: list[Point]
    rows: list[Row]
    best: Row | None


class Efficiency(Setting):
    """Result of a study of label efficiency."""

    students: list[Curve]
    notes: list[str]


_ORDER = ("voice", "face", "both")  # teachers in tables and plots
_Runs = dict[tuple[int | None, str], list[FinishedRun]]  # by number of labelled actors and method


def measure_efficiency(runs: Sequence[FinishedRun]) -> Efficiency:
    """Compute the numbers of a study with the axis ``labelled_actors`` from its finished runs.

    Each student is measured on the folds and seeds that all its methods have finished with all numbers of labelled
    actors, so that its numbers can be compared.

    Raises:
        ConfigError: If no student has such a fold and seed, or methods had different labelled actors.
    """
    students: dict[str, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: run.place):
        students.setdefault(run.about.get("student") or "student", []).append(run)
    common = {student: _common_runs(those) for student, those in students.items()}
    used = [run for groups in common.values() for those in groups.values() for run in those]
    if not used:
        raise ConfigError("No fold and seed is finished for all methods and numbers of labelled actors. Run the rest.")
    notes = notes_on_runs(used)
    for student, groups in common.items():
        if missing := len(students[student]) - sum(map(len, groups.values())):
            notes.append(f"{student}: {missing} runs are left out, because others of their fold and seed are missing.")
    curves = [_curve(student, groups) for student, groups in common.items() if any(groups.values())]
    return Efficiency(**setting_of(used), students=curves, notes=notes)


def labels_needed(
    numbers: NDArray[np.float64], curve: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the numbers of labels at which monotone learning curves reach targets; infinite if they never do.

    The UAR of a curve, (..., N), is that of the most labels so far, and linear between the N numbers of labels.

    Examples:
        >>> numbers, curve = np.array([1.0, 2.0, 4.0]), np.array([0.3, 0.2, 0.5])
        >>> labels_needed(numbers, curve, np.array([0.1, 0.4, 0.6])).tolist()
        [1.0, 3.0, inf]
    """
    monotone, target = np.broadcast_arrays(np.maximum.accumulate(curve, axis=-1), target[..., None])
    reached = monotone >= target
    after = reached.argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(monotone, place[..., None], -1)[..., 0] for place in (before, after))
    step = np.divide(target[..., 0] - low, high - low, out=np.zeros_like(low), where=high > low)
    found = numbers[before] + step * (numbers[after] - numbers[before])
    return np.where(reached.any(axis=-1), found, np.inf)


def _common_runs(runs: Sequence[FinishedRun]) -> _Runs:
    """Return the runs of the folds and seeds that are finished for all methods and numbers of labelled actors."""
    groups: _Runs = {}
    for run in runs:
        groups.setdefault((run.about["labelled_actors"], run.name + " (self)" * run.self_taught), []).append(run)
    places = set.intersection(*({run.place for run in those} for those in groups.values()))
    common = {key: [run for run in those if run.place in places] for key, those in groups.items()}
    for number, place in {(number, place) for number, _ in common for place in places}:
        same = [run for key, those in common.items() if key[0] == number for run in those if run.place == place]
        if len({str(run.summary.corpus.get("labelled_actors")) for run in same}) > 1:
            raise ConfigError(f"{same[0].folder}: other methods had labels of other actors. Rerun the study.")
    return common


def _curve(student: str, groups: _Runs) -> Curve:
    every = [run for those in groups.values() for run in those]
    total = median_low([len(run.summary.corpus["actors"]["train"]) for run in every])
    ordered = sorted(groups, key=lambda key: (key[0] or np.inf, _ORDER.index(_teacher(groups[key])), key[1]))
    controls = {
        number: _pooled([run for key, those in groups.items() if key[0] == number for run in those], "control")
        for number, _ in ordered
    }
    rows = [_row(student, key, groups) for key in ordered]
    for row, needed in zip(rows, _needed(rows, groups, controls, total), strict=True):
        row["needed"] = needed
    correct([row["over_control"] for row in rows])
    correct([row["over_voice"] for row in rows])
    control = [_point(number, predictions) for number, predictions in controls.items()]
    return Curve(student=student, training_actors=total, control=control, rows=rows, best=_best(rows, total))


def _row(student: str, key: tuple[int | None, str], groups: _Runs) -> Row:
    (number, method), runs = key, groups[key]
    students, controls = ([run.predictions[stage] for run in runs] for stage in ("finetune", "control"))
    voices = {name for (other, name), those in groups.items() if other == number and _teacher(those) == "voice"}
    own = {f"{method} (self)"} & voices or voices  # of the same method, or else the only one
    over_voice = None
    if method not in voices and len(own) == 1:
        over_voice = effect(students, [run.predictions["finetune"] for run in groups[number, own.pop()]])
    return Row(
        **_point(number, _pooled(runs, "finetune")),
        student=student,
        method=method,
        teacher=_teacher(runs),
        runs=len(runs),
        control_uar=float(uar(_pooled(runs, "control").confusion())),
        val_gain_pp=effect(students, controls, "val")["gain_pp"],
        over_control=effect(students, controls),
        recommended=effect([run.predictions[run.recommended] for run in runs], controls),
        over_voice=over_voice,
        needed=Needed(most=0, actors=None, ci95=None),  # set when all curves are known
    )


def _needed(
    rows: Sequence[Row], groups: _Runs, controls: dict[int | None, Predictions], total: int
) -> Iterator[Needed]:
    """Yield the labelled actors that the control needs for the UAR of each row, with the same draws for both."""
    numbers = np.array([number or total for number in controls], np.float64)
    stacks = [_by_actor(predictions) for predictions in controls.values()]
    counts = draw_actors(len(stacks[0]))
    curve, drawn = (
        np.stack([uar(values) for values in those], axis=-1)
        for those in ([stack.sum(axis=0) for stack in stacks], [resample(stack, counts) for stack in stacks])
    )
    for row in rows:
        stack = _by_actor(_pooled(groups[row["labelled_actors"], row["method"]], "finetune"))
        value = labels_needed(numbers, curve, uar(stack.sum(axis=0)))
        draws = labels_needed(numbers, drawn, uar(resample(stack, counts)))
        low, high = np.percentile(draws, [2.5, 97.5], method="nearest")  # a mean with infinity is no number
        interval = (_finite(low), _finite(high)) if row["uar_ci95"] else None
        yield Needed(most=int(numbers.max()), actors=_finite(value), ci95=interval)


def _best(rows: Sequence[Row], total: int) -> Row | None:
    """Return the row of the camera: the best method, then its best number below all, both by gain on validation."""
    methods: dict[str, list[Row]] = {}
    for row in rows:
        if row["teacher"] != "voice" and (row["labelled_actors"] or total) < total:
            methods.setdefault(row["method"], []).append(row)
    means = {method: fmean(row["val_gain_pp"] for row in those) for method, those in methods.items()}
    return max(methods[max(means, key=means.__getitem__)], key=lambda row: row["val_gain_pp"]) if means else None


def _point(number: int | None, predictions: Predictions) -> Point:
    return Point(labelled_actors=number, uar=float(uar(predictions.confusion())), uar_ci95=uar_interval(predictions))


def _teacher(runs: Sequence[FinishedRun]) -> str:
    return str(runs[0].about["teacher"])


def _pooled(runs: Sequence[FinishedRun], stage: str) -> Predictions:
    return pool([run.predictions[stage].of("test") for run in runs])


def _by_actor(predictions: Predictions) -> NDArray[np.int64]:
    return np.stack(list(predictions.confusion_by_actor().values()))


def _finite(value: NDArray[np.float64] | float) -> float | None:
    return float(value) if np.isfinite(value) else None
