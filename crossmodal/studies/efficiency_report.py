"""The report of a study of label efficiency: a table, a curve and a sentence for each student."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from crossmodal.evaluation.plots import STAGE_COLOURS, STYLE, legend_below, save_figure
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
from crossmodal.labels_for_people import format_for
from crossmodal.studies.compare_report import flat_effect, flat_setting
from crossmodal.studies.efficiency import Curve, Efficiency, Needed, Point, Row, measure_efficiency
from crossmodal.studies.finished import FinishedRun
from crossmodal.studies.gallery import PROTOCOL_COLOURS, PROTOCOL_MARKERS
from crossmodal.studies.report import StudyReport, describe_setting

_CONTROL = STAGE_COLOURS["control"]
_DASHES = (":", "-.", "-", (0, (5, 1)))
_SHIFT = 0.08  # actors between two markers with the same number of labels
_EXPLANATION = (
    "A student is compared with its control, which is trained on the same labelled actors without a teacher. Gains "
    "are points of UAR; on test they are pooled over folds and seeds, with a paired bootstrap over actors and "
    "Wilcoxon's signed-rank test over actors; p (Holm) is corrected over the rows of a student. Recommended: the gain"
    " of the models that `fit` recommends by validation, students or controls. Over voice: the gain over the student "
    "of a voice teacher with the same labels. Labels for control: the number of labelled actors with which the "
    "control reaches the UAR of the row, from the line through its UARs, which is made monotone. It cannot be less "
    "than the smallest number measured. The method and the number of labels in the sentence are selected on "
    "validation."
)


def report_efficiency(folder: Path, runs: Sequence[FinishedRun]) -> StudyReport:
    """Compute the numbers of a study of label efficiency, and draw its curves into its folder."""
    numbers = measure_efficiency(runs)
    corpus, setting = numbers["corpus"], describe_setting(numbers)
    marks = warnings(corpus, numbers["speaker_dependent"])
    sections, sentences = [], []
    for curve in numbers["students"]:
        picture = Picture(folder / f"curve_{curve['student']}.png", format_for(corpus, "UAR by labelled actors."))
        plot_curve(curve, picture.path, format_for(corpus, "labelled training actors"), " ".join(marks))
        sentence = [format_for(corpus, text) for text in _sentence(curve)]
        sections.append(Section(curve["student"], [*sentence, Table(_columns(), [curve["rows"]]), picture]))
        sentences += sentence
    sections.append(Section("Notes", [*numbers["notes"], format_for(corpus, _EXPLANATION)]))
    student = Column[Row]("student", lambda row: row["student"], "student")
    table = Table([student, *_columns()], [curve["rows"] for curve in numbers["students"]])
    rows = [_flat(row, numbers) | {"warnings": " ".join(marks)} for group in table.groups for row in group]
    report = Report(numbers["study"], marks, [setting], sections)
    return StudyReport(numbers, report, table, [*sentences, *numbers["notes"]], rows)


def plot_curve(curve: Curve, path: Path, label: str, note: str = "") -> None:
    """Plot UAR over the number of labelled actors for control and methods, with intervals; `label` is of the axis."""
    methods = dict.fromkeys(row["method"] for row in curve["rows"])
    lines = {method: [row for row in curve["rows"] if row["method"] == method] for method in methods}
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
        for point in (one for one in curve["control"] if one["labelled_actors"] is None):
            axis.axhline(point["uar"], color=_CONTROL, linestyle="--", linewidth=1, label="control, all labels")
        _draw_line(axis, curve, curve["control"], -len(lines) / 2, "control", color=_CONTROL, marker="X")
        for place, (method, rows) in enumerate(lines.items()):
            style = {"color": PROTOCOL_COLOURS[place % 4], "marker": PROTOCOL_MARKERS[place % 4]}
            _draw_line(axis, curve, rows, place + 1 - len(lines) / 2, method, linestyle=_DASHES[place % 4], **style)
        total = curve["training_actors"]
        ticks = [point["labelled_actors"] for point in curve["control"]]
        axis.set_xticks([number or total for number in ticks], [str(number or f"{total} (all)") for number in ticks])
        axis.set(xlabel=label, ylabel="UAR on the test speakers, with 95 % interval")
        axis.set_title(curve["student"], loc="left")
        axis.grid(axis="y", alpha=0.25)
        legend_below(figure, axis, 3)
        save_figure(figure, path, note)


def _draw_line(axis: Axes, curve: Curve, line: Sequence[Point], place: float, name: str, **style: Any) -> None:
    """Draw UARs with intervals; lines at other places are shifted, so that their intervals do not overlap."""
    numbers = [(point["labelled_actors"] or curve["training_actors"]) + _SHIFT * place for point in line]
    values = [point["uar"] for point in line]
    intervals = [point["uar_ci95"] or (point["uar"], point["uar"]) for point in line]
    errors = [[abs(value - ends[side]) for value, ends in zip(values, intervals, strict=True)] for side in (0, 1)]
    axis.errorbar(numbers, values, yerr=errors, label=name, markersize=5, linewidth=1.4, elinewidth=1.2, **style)


def _columns() -> list[Column[Row]]:
    return [
        Column("labelled", _labelled, "labels"),
        Column("method", lambda row: row["method"], "method", is_text=True),
        Column("runs", lambda row: str(row["runs"])),
        Column("UAR of control", lambda row: f"{row['control_uar']:.3f}", "control"),
        Column("UAR test", lambda row: f"{row['uar']:.3f}", "UAR"),
        Column("gain on validation", lambda row: points(row["val_gain_pp"]), "val"),
        Column("gain on test (95 %)", lambda row: with_interval(row["over_control"]), "test gain (95 %)"),
        Column("p", lambda row: probability(row["over_control"]["p"])),
        Column("p (Holm)", lambda row: probability(row["over_control"]["p_holm"]), "p Holm"),
        Column("recommended (95 %)", lambda row: with_interval(row["recommended"])),
        Column("over voice (95 %)", lambda row: with_interval(row["over_voice"]), "over voice (95 %)"),
        Column("p (Holm)", lambda row: probability(row["over_voice"] and row["over_voice"]["p_holm"])),
        Column("labels for control (95 %)", lambda row: _format_needed(row["needed"]), "labels for control"),
    ]


def _labelled(row: Row) -> str:
    return str(row["labelled_actors"] or f"{row['needed']['most']} (all)")


def _format_needed(needed: Needed) -> str:
    """Format numbers of labelled actors, such as ``3.1 (2.0 to > 8)``."""
    value, *ends = (
        f"> {needed['most']}" if number is None else f"{number:.1f}"
        for number in (needed["actors"], *(needed["ci95"] or ()))
    )
    return value if not ends or (value[0] == ">" and {*ends} == {value}) else f"{value} ({' to '.join(ends)})"


def _sentence(curve: Curve) -> list[str]:
    """Return the sentence about the value of the camera, if a face taught with some labels missing."""
    if not (row := curve["best"]):
        return []
    over_voice = f", and {with_interval(row['over_voice'])} over a voice teacher" if row["over_voice"] else ""
    needed = _format_needed(row["needed"]).replace("> ", "more than ")
    return [
        f"{row['student']}: with {row['labelled_actors']} of {curve['training_actors']} training actors labelled, the "
        f"camera is worth {with_interval(row['over_control'])} points of UAR over the control{over_voice}, with the "
        f"method {row['method']}, selected on validation. The control would need {needed} labelled actors for the same "
        f"UAR, {row['uar']:.3f}."
    ]


def _flat(row: Row, numbers: Efficiency) -> dict[str, Any]:
    """Return the unrounded numbers of a row with its data, without nesting."""
    needed = row["needed"]
    names = ("student", "labelled_actors", "method", "teacher", "runs", "control_uar", "uar", "val_gain_pp")
    values: Mapping[str, Any] = row
    flat: dict[str, Any] = {name: values[name] for name in names} | {"most_labelled_actors": needed["most"]}
    flat["uar_low"], flat["uar_high"] = row["uar_ci95"] or (None, None)
    flat |= (
        flat_effect("", row["over_control"])
        | flat_effect("recommended_", row["recommended"])
        | flat_effect("over_voice_", row["over_voice"])
    )
    flat["labels_for_control"] = needed["actors"]
    flat["labels_for_control_low"], flat["labels_for_control_high"] = needed["ci95"] or (None, None)
    return flat | flat_setting(numbers)
