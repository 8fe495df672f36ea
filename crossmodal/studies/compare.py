"""The numbers of a study of methods, from its run folders: each method against its controls."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import TypedDict

from crossmodal.evaluation.by_sex import SexResult, measure_by_sex
from crossmodal.evaluation.gain import holm, measure_gain
from crossmodal.evaluation.metrics import Interval, late_fusion, pool, uar
from crossmodal.evaluation.predictions import Predictions
from crossmodal.studies.finished import FinishedRun, Setting, notes_on_runs, setting_of

# Names of the reference rows.
LAST = {"control": "voice alone (control)", "teacher": "face alone (teacher)"}


class Effect(TypedDict):
    """A gain on test actors, see `measure_gain`; `p_holm` is its p-value corrected for the number of methods."""

    gain_pp: float
    ci95_pp: Interval | None
    p: float
    p_holm: float | None


class Row(TypedDict):
    """A method or a reference; UAR as fractions, gains in points of UAR.

    Values that a method or reference does not have are None. `seconds` are of transfer and finetune, median over runs.
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


class Comparison(Setting):
    """Result of a study; `methods` are sorted by gain on validation, best first. `by_sex` is about `best`."""

    methods: list[Row]
    references: list[Row]
    best: str
    by_sex: list[SexResult]
    notes: list[str]


def compare(runs: Sequence[FinishedRun]) -> Comparison:
    """Compute the numbers of the table from finished runs, see `crossmodal.studies.finished.load_runs`."""
    by_own = _by_method(run for run in runs if not run.self_taught)
    by_self = _by_method(run for run in runs if run.self_taught)
    rows = [_method_row(name, those, by_self.get(name, [])) for name, those in by_own.items()]
    correct([row["over_control"] for row in rows])
    correct([row["over_self"] for row in rows])
    rows.sort(key=lambda row: row["val_gain_pp"] or 0.0, reverse=True)
    most = max(row["runs"] for row in rows)
    references, pairs = _references(runs)
    setting, best = setting_of(runs), next(row["name"] for row in rows if row["runs"] == most)
    setting["corpus"]["unlabelled_actors"] = min(_num_unlabelled(runs))
    return Comparison(
        **setting,
        methods=rows,
        references=references,
        best=best,
        by_sex=_by_sex(best, by_own[best]),
        notes=_notes(runs, rows, pairs),
    )


def one_run_per_pair(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Return one run for each pair of teacher and control, which methods share."""
    return list({(*run.place, run.key("teacher"), run.key("control")): run for run in runs}.values())


def _method_row(name: str, runs: Sequence[FinishedRun], by_self: Sequence[FinishedRun]) -> Row:
    row = _row(name, runs, _of(runs, "finetune"))
    stages = [run.summary.stages for run in runs]
    row["seconds"] = median(float(one["transfer"]["seconds"] + one["finetune"]["seconds"]) for one in stages)
    self_taught = {run.place: run for run in by_self}
    if both := [run for run in runs if run.place in self_taught]:
        others = [self_taught[run.place] for run in both]
        row["over_self"] = effect(_of(both, "finetune"), _of(others, "finetune"))
    return row


def _row(name: str, runs: Sequence[FinishedRun], predictions: Sequence[Predictions]) -> Row:
    """Return the row of a model, with its predictions in each run, compared with the control."""
    controls = _of(runs, "control")
    folds: dict[str, list[int]] = {}
    for index, run in enumerate(runs):
        folds.setdefault(str(run.about["fold"]), []).append(index)
    return Row(
        name=name,
        runs=len(runs),
        val_gain_pp=effect(predictions, controls, "val")["gain_pp"],
        test_uar=_uar(predictions),
        control_uar=_uar(controls),
        over_control=effect(predictions, controls),
        fold_gains_pp={
            fold: effect([predictions[index] for index in those], [controls[index] for index in those])["gain_pp"]
            for fold, those in folds.items()
        },
        over_self=None,
        seconds=None,
    )


def _by_sex(name: str, runs: Sequence[FinishedRun]) -> list[SexResult]:
    """Measure a method and its control, pooled over runs, on the test actors of each sex."""
    known = [run.summary.corpus.get("sexes") or {} for run in runs]
    sexes = {sex: {actor for one in known for actor in one.get(sex, ())} for sex in ("female", "male")}
    stages = {LAST["control"]: "control", name: "finetune"}
    models = {row: pool([one.of("test") for one in _of(runs, stage)]) for row, stage in stages.items()}
    return measure_by_sex(models, sexes, name, LAST["control"])


def _references(runs: Sequence[FinishedRun]) -> tuple[list[Row], list[FinishedRun]]:
    """Return the rows of control, teacher and their late fusion, with one run per pair of teacher and control."""
    distinct = one_run_per_pair(runs)
    control, teacher = (_row(name, distinct, _of(distinct, stage)) for stage, name in LAST.items())
    control |= {"val_gain_pp": None, "over_control": None, "fold_gains_pp": {}}
    fusion = [late_fusion(run.predictions["teacher"], run.predictions["control"]) for run in distinct]
    return [control, teacher, _row("late fusion of both", distinct, fusion)], distinct


def _notes(runs: Sequence[FinishedRun], rows: Sequence[Row], pairs: Sequence[FinishedRun]) -> list[str]:
    notes = notes_on_runs(runs)
    most = max(row["runs"] for row in rows)
    if unfinished := [f"{row['name']} ({row['runs']} of {most} runs)" for row in rows if row["runs"] < most]:
        notes.append(f"Not finished, so excluded from the choice of the best method: {', '.join(unfinished)}.")
    if len(_num_unlabelled(runs)) > 1:
        notes.append("Methods and their controls differ in the number of training actors that count as unlabelled.")
    if not any(_num_unlabelled(runs)) and any(run.summary.corpus.get("unlabelled_clips") for run in runs):
        notes.append("Some training clips have no label: they are used for distillation, but not in the task loss.")
    if len(pairs) > len({run.place for run in runs}):
        notes.append("Methods have different teachers or controls; the reference rows are pooled over them.")
    return notes


def _num_unlabelled(runs: Sequence[FinishedRun]) -> set[int]:
    return {run.summary.corpus.get("unlabelled_actors", 0) for run in runs}


def correct(effects: Sequence[Effect | None]) -> None:
    """Set the p-values with Holm's correction over the effects that are not None."""
    present = [one for one in effects if one]
    for one, corrected in zip(present, holm([one["p"] for one in present]), strict=True):
        one["p_holm"] = corrected


def _of(runs: Sequence[FinishedRun], stage: str) -> list[Predictions]:
    return [run.predictions[stage] for run in runs]


def effect(ours: Sequence[Predictions], theirs: Sequence[Predictions], split: str = "test") -> Effect:
    """Return the gain of one side over the other, each with the same runs, on the clips of a split."""
    gain = measure_gain(*([one.of(split) for one in side] for side in (ours, theirs)))
    return Effect(gain_pp=gain["gain_pp"], ci95_pp=gain["ci95_pp"], p=gain["p"], p_holm=None)


def _uar(parts: Sequence[Predictions]) -> float:
    return float(uar(pool([part.of("test") for part in parts]).confusion()))


def _by_method(runs: Iterable[FinishedRun]) -> dict[str, list[FinishedRun]]:
    methods: dict[str, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: run.place):
        methods.setdefault(run.name, []).append(run)
    return methods
