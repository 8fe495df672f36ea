"""The report of a study of methods."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from crossmodal.evaluation.by_sex import sex_sections
from crossmodal.evaluation.report import (
    Column,
    Picture,
    Report,
    Section,
    Table,
    points,
    probability,
    warnings,
    with_interval,
)
from crossmodal.labels_for_people import corpus_name, format_for
from crossmodal.studies.compare import LAST, Comparison, Effect, Row, compare, one_run_per_pair
from crossmodal.studies.finished import FinishedRun, Setting, StudyModel
from crossmodal.studies.gallery import draw_gallery, plot_gains
from crossmodal.studies.report import StudyReport, describe_setting


def report_methods(folder: Path, runs: Sequence[FinishedRun]) -> StudyReport:
    """Compute the numbers of a study, and draw its plots into its folder."""
    numbers = compare(runs)
    marks, setting = warnings(numbers["corpus"], numbers["speaker_dependent"]), describe_setting(numbers)
    table = Table(_columns(numbers), [numbers["methods"], numbers["references"]])
    sentences = _sentences(numbers)
    gains = Picture(folder / "gains.png", "The gain of each method over its control.")
    plot_gains(numbers["methods"], gains.path, setting, " ".join(marks))
    sections = [
        Section("Methods", [table, *sentences, _explanation(numbers)]),
        Section("Gain over the control", [gains]),
        *sex_sections(numbers["by_sex"], format_for(numbers["corpus"], "actors")),
        *draw_gallery(_models(runs, numbers), folder, {numbers["protocol"]: marks}),
    ]
    kinds = zip(("method", "reference"), table.groups, strict=True)
    rows = [_flat(row, kind, numbers) | {"warnings": " ".join(marks)} for kind, group in kinds for row in group]
    report = Report(numbers["study"], marks, [setting], sections)
    return StudyReport(numbers, report, table, sentences, rows)


def _models(runs: Sequence[FinishedRun], numbers: Comparison) -> list[StudyModel]:
    """Return the models to plot: each method's student, then control and teacher, once per fold and seed."""
    protocol = numbers["protocol"]
    own = [run for run in runs if not run.self_taught]
    shown = [
        StudyModel(row["name"], "finetune", {protocol: [run for run in own if run.name == row["name"]]})
        for row in numbers["methods"]
    ]
    distinct = {protocol: one_run_per_pair(runs)}
    return [*shown, *(StudyModel(name, stage, distinct) for stage, name in LAST.items())]


def _columns(numbers: Comparison) -> list[Column[Row]]:
    """Return the columns; those of self-distillation only if there are such runs."""
    columns: list[Column[Row]] = [
        Column("method", lambda row: row["name"], "method"),
        Column("runs", lambda row: str(row["runs"]), "runs"),
        Column("gain on validation", lambda row: points(row["val_gain_pp"]), "val gain"),
        Column("UAR test", lambda row: f"{row['test_uar']:.3f}", "UAR"),
        Column("UAR of control", lambda row: f"{row['control_uar']:.3f}"),
        Column("gain on test (95 %)", lambda row: with_interval(row["over_control"]), "test gain (95 %)"),
        Column("by fold", lambda row: _range(list(row["fold_gains_pp"].values()))),
        *_p_columns(lambda row: row["over_control"]),
    ]
    if any(row["over_self"] for row in numbers["methods"]):
        heading = "over self-distillation (95 %)"
        columns += [Column(heading, lambda row: with_interval(row["over_self"]), "over self (95 %)")]
        columns += _p_columns(lambda row: row["over_self"])
    return [*columns, Column("seconds", lambda row: "" if row["seconds"] is None else f"{row['seconds']:.0f}", "s")]


def _p_columns(effect_of: Callable[[Row], Effect | None]) -> list[Column[Row]]:
    return [
        Column("p", lambda row: _p(effect_of(row), "p")),
        Column("p (Holm)", lambda row: _p(effect_of(row), "p_holm"), "p Holm"),
    ]


def _p(effect: Effect | None, name: Literal["p", "p_holm"]) -> str:
    return probability(effect[name] if effect else None)


def _sentences(numbers: Comparison) -> list[str]:
    """Return a sentence about the best method, and the notes."""
    best = next(row for row in numbers["methods"] if row["name"] == numbers["best"])
    gain = best["over_control"]
    assert gain is not None, "every method has a control"
    people = format_for(numbers["corpus"], "actors")
    text = (
        f"Best on validation: {best['name']}, {points(best['val_gain_pp'])} points. On test: {with_interval(gain)} "
        f"points of UAR over its control, p {probability(gain['p'])} over {len(numbers['test_actors'])} {people}"
    )
    if best["over_self"]:
        text += f"; {with_interval(best['over_self'])} over self-distillation, p {probability(best['over_self']['p'])}"
    return [f"{text}.", *numbers["notes"]]


def _explanation(numbers: Comparison) -> str:
    text = (
        "Gains are points of UAR, student minus control. On test they are pooled over folds and seeds. The interval is "
        "a paired bootstrap over actors. p is the two-sided Wilcoxon signed-rank test over actors, with each actor's "
        f"gain averaged over seeds; p (Holm) is corrected over the {len(numbers['methods'])} methods. "
        "Self-distillation is the same method with a voice teacher. Seconds are those of transfer and finetune, median "
        "over runs. The best method is selected on validation only. The last rows are references."
    )
    return format_for(numbers["corpus"], text)


def _flat(row: Row, kind: str, numbers: Comparison) -> dict[str, Any]:
    """Return the unrounded numbers of a row with its data, without nesting."""
    folds = list(row["fold_gains_pp"].values())
    flat: dict[str, Any] = {"name": row["name"], "kind": kind, "runs": row["runs"]}
    flat |= {name: row[name] for name in ("val_gain_pp", "test_uar", "control_uar")}
    flat |= flat_effect("", row["over_control"]) | flat_effect("over_self_", row["over_self"])
    flat |= {"fold_gain_min_pp": min(folds, default=None), "fold_gain_max_pp": max(folds, default=None)}
    return flat | {"seconds": row["seconds"]} | flat_setting(numbers)


def flat_effect(prefix: str, effect: Effect | None) -> dict[str, float | None]:
    """Return the numbers of an effect for a row of ``table.csv``; each is None without an effect."""
    low, high = (effect and effect["ci95_pp"]) or (None, None)
    flat = {"gain_pp": effect and effect["gain_pp"], "low_pp": low, "high_pp": high}
    flat |= {"p": effect and effect["p"], "p_holm": effect and effect["p_holm"]}
    return {f"{prefix}{name}": value for name, value in flat.items()}


def flat_setting(setting: Setting) -> dict[str, Any]:
    """Return the data of a study for a row of ``table.csv``."""
    flat: dict[str, Any] = {"corpus": corpus_name(setting["corpus"]), "channel": setting["channel"]}
    flat |= {"label_set": setting["label_set"], "protocol": setting["protocol"]}
    return flat | {name: " ".join(map(str, setting[name])) for name in ("test_actors", "folds", "seeds")}


def _range(values: Sequence[float]) -> str:
    return f"{min(values):+.1f} to {max(values):+.1f}" if values else ""
