"""The numbers of a study, from its run folders alone: each method against its controls."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any, TypedDict

from crossmodal.evaluation.gain import holm, measure_gain
from crossmodal.evaluation.metrics import Interval, pool, uar
from crossmodal.evaluation.predictions import Predictions
from crossmodal.studies.finished import FinishedRun

LEAST_SEEDS = 3
# What the stages are called beside the methods.
LAST = {"control": "voice alone (control)", "teacher": "face alone (teacher)"}


class Effect(TypedDict):
    """A gain on test actors, as `crossmodal.evaluation.gain.measure_gain` computes it.

    `p_holm` is the p-value corrected for the number of methods.
    """

    gain_pp: float
    ci95_pp: Interval
    p: float
    p_holm: float | None


class Row(TypedDict):
    """A method, or a row for reference; UAR as fractions, gains in points of UAR.

    `over_control` is None for the control itself, `over_self` where the method has no runs with a voice teacher, and
    `seconds` (the median over runs of transfer and finetune together) for a reference.
    """

    name: str
    runs: int
    val_gain_pp: float | None
    test_uar: float
    control_uar: float
    over_control: Effect | None
    fold_gains_pp: dict[str, float]
    over_self: Effect | None
    seconds: float | None


class Comparison(TypedDict):
    """A study's answer; `methods` by their gain on validation, the best first."""

    study: str
    corpus: dict[str, Any]
    protocol: str
    num_folds: int | None
    speaker_dependent: bool
    channel: str | None
    label_set: str | None
    labels: list[str]
    test_actors: list[str]
    folds: list[int]
    seeds: list[int]
    methods: list[Row]
    references: list[Row]
    best: str
    notes: list[str]


Said = Callable[[FinishedRun], Predictions]


def compare(runs: Sequence[FinishedRun]) -> Comparison:
    """Make the table's numbers.

    Args:
        runs: See `crossmodal.studies.finished.load_runs`.
    """
    taught = _by_method(run for run in runs if not run.self_taught)
    by_self = _by_method(run for run in runs if run.self_taught)
    rows = [_method_row(name, those, by_self.get(name, [])) for name, those in taught.items()]
    _correct([row["over_control"] for row in rows])
    _correct([row["over_self"] for row in rows])
    rows.sort(key=lambda row: row["val_gain_pp"] or 0.0, reverse=True)
    most = max(row["runs"] for row in rows)
    references, pairs = _references(runs)
    summary = runs[0].summary
    return Comparison(
        study=runs[0].about["study"],
        corpus={
            **{name: summary["corpus"].get(name) for name in ("kind", "name", "faces")},
            "unlabelled_actors": min(_num_unlabelled(runs)),
        },
        protocol=summary["protocol"],
        num_folds=summary.get("num_folds"),
        speaker_dependent=summary["speaker_dependent"],
        channel=summary["channel"],
        label_set=summary["label_set"],
        labels=summary["labels"],
        test_actors=sorted({actor for run in runs for actor in run.summary["corpus"]["actors"]["test"]}),
        folds=sorted({run.about["fold"] for run in runs}),
        seeds=sorted({run.about["seed"] for run in runs}),
        methods=rows,
        references=references,
        best=next(row["name"] for row in rows if row["runs"] == most),
        notes=_notes(runs, rows, pairs),
    )


def effect(runs: Sequence[FinishedRun], ours: Said, others: Sequence[FinishedRun], theirs: Said) -> Effect:
    """One side against the other on the test actors, run by run.

    Args:
        runs: One or more.
        ours: What is compared, of a run.
        others: As many, of the same folds and seeds in the same order; those it is compared with.
        theirs: What of those.
    """
    first = [ours(run).of("test") for run in runs]
    second = [theirs(run).of("test") for run in others]
    gain = measure_gain(first, second)
    return Effect(gain_pp=gain["gain_pp"], ci95_pp=gain["ci95_pp"], p=gain["p"], p_holm=None)


def _method_row(name: str, runs: Sequence[FinishedRun], by_self: Sequence[FinishedRun]) -> Row:
    row = _row(name, runs, lambda run: run.student)
    row["seconds"] = median(run.seconds for run in runs)
    self_taught = {run.place: run for run in by_self}
    both = [run for run in runs if run.place in self_taught]
    if both:
        others = [self_taught[run.place] for run in both]
        row["over_self"] = effect(both, lambda run: run.student, others, lambda run: run.student)
    return row


def _row(name: str, runs: Sequence[FinishedRun], said: Said) -> Row:
    """What some model of the runs gains over the control."""
    folds: dict[str, list[FinishedRun]] = {}
    for run in runs:
        folds.setdefault(str(run.about["fold"]), []).append(run)
    return Row(
        name=name,
        runs=len(runs),
        val_gain_pp=_gain_pp(runs, said, "val"),
        test_uar=_uar(map(said, runs), "test"),
        control_uar=_uar([run.control for run in runs], "test"),
        over_control=effect(runs, said, runs, lambda run: run.control),
        fold_gains_pp={fold: _gain_pp(those, said, "test") for fold, those in folds.items()},
        over_self=None,
        seconds=None,
    )


def _references(runs: Sequence[FinishedRun]) -> tuple[list[Row], list[FinishedRun]]:
    """Control, teacher, and their late fusion, the ceiling; and a run for each pair of teacher and control."""
    distinct = one_a_pair(runs)
    control = _row(LAST["control"], distinct, lambda run: run.control)
    control |= {"val_gain_pp": None, "over_control": None, "fold_gains_pp": {}}
    teacher = _row(LAST["teacher"], distinct, lambda run: run.teacher)
    fusion = _row("late fusion of both", distinct, lambda run: run.fusion)
    return [control, teacher, fusion], distinct


def one_a_pair(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """A run for each pair of teacher and control: methods share them."""
    return list({(*run.place, run.key("teacher"), run.key("control")): run for run in runs}.values())


def _notes(runs: Sequence[FinishedRun], rows: Sequence[Row], pairs: Sequence[FinishedRun]) -> list[str]:
    """What a reader must know of these numbers beside what they are of."""
    notes = []
    if (seeds := len({run.about["seed"] for run in runs})) < LEAST_SEEDS:
        notes.append(f"Only {seeds} of at least {LEAST_SEEDS} seeds: one seed finds winners that are not there.")
    most = max(row["runs"] for row in rows)
    if lacking := [f"{row['name']} ({row['runs']} of {most} runs)" for row in rows if row["runs"] < most]:
        notes.append(f"Not finished, and not among what is chosen from: {', '.join(lacking)}.")
    if len(versions := {run.about["code"] for run in runs}) > 1:
        notes.append(f"Made by {len(versions)} versions of the package: what differs need not be the methods.")
    if len(_num_unlabelled(runs)) > 1:
        notes.append("Methods differ in how many training actors count as unlabelled, and so do their controls.")
    if not any(_num_unlabelled(runs)) and any(run.summary["corpus"].get("unlabelled_clips") for run in runs):
        notes.append("Some of the training clips have no label: they teach, and are in no task loss.")
    if len(pairs) > len({run.place for run in runs}):
        notes.append("Methods have different teachers or controls; the rows for reference are pooled over them.")
    return notes


def _num_unlabelled(runs: Sequence[FinishedRun]) -> set[int]:
    return {run.summary["corpus"].get("unlabelled_actors", 0) for run in runs}


def _correct(effects: Sequence[Effect | None]) -> None:
    """Holm's correction over the methods, where they have the effect."""
    there = [one for one in effects if one]
    for one, corrected in zip(there, holm([one["p"] for one in there]), strict=True):
        one["p_holm"] = corrected


def _gain_pp(runs: Sequence[FinishedRun], said: Said, split: str) -> float:
    students, controls = ([of(run).of(split) for run in runs] for of in (said, lambda run: run.control))
    return measure_gain(students, controls)["gain_pp"]


def _uar(parts: Iterable[Predictions], split: str) -> float:
    return float(uar(pool([part.of(split) for part in parts]).confusion()))


def _by_method(runs: Iterable[FinishedRun]) -> dict[str, list[FinishedRun]]:
    methods: dict[str, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: run.place):
        methods.setdefault(run.name, []).append(run)
    return methods
