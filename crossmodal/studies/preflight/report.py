"""The report of the pre-flight: a table, a plot and the advice."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from rich.console import Console

from crossmodal.evaluation.plots import STAGE_COLOURS, STYLE, save_figure
from crossmodal.evaluation.report import Column, Picture, Report, Section, Table, print_warnings, screen_table, warnings
from crossmodal.evaluation.similarity import CARRIED_R2
from crossmodal.labels_for_people import corpus_name, format_for, interval_text, list_names, protocol_name

_TEACHER, _STUDENT, _FUSION = STAGE_COLOURS["teacher"], STAGE_COLOURS["control"], STAGE_COLOURS["transfer"]
_BARS = {
    "teacher": ("teacher\n(face)", _TEACHER),
    "student": ("student\n(voice alone)", _STUDENT),
    "fusion": ("late\nfusion", _FUSION),
    "oracle": ("either\nright", "#d9d9d9"),
}
_KINDS = {
    "both_right": ("both", _FUSION),
    "only_teacher_right": ("only the teacher", _TEACHER),
    "only_student_right": ("only the student", _STUDENT),
    "both_wrong": ("neither", "#eeeeee"),
}
_CARRIED = {
    "teacher_embedding": ("teacher's embedding", _TEACHER),
    "teacher_logits": ("teacher's logits", "black"),
    "face_input": ("face input", "#e07a1f"),
}

Row = tuple[str, str, str]


@dataclass(frozen=True)
class PreflightReport:
    """The result of a pre-flight: `numbers` as in ``preflight.json``, and a report that a notebook shows."""

    numbers: dict[str, Any]
    report: Report

    def print(self) -> None:
        """Print the table, the advice and the paths of the files."""
        console = Console()
        (table, advice, plot) = self.report.sections[0].parts
        assert isinstance(table, Table) and isinstance(plot, Picture), "as preflight_report made them"
        console.print(screen_table(self.report.lines[0], table))
        console.print(advice)
        print_warnings(console, self.report.warnings)
        console.print(f"Numbers: {plot.path.with_suffix('.json')}", soft_wrap=True)
        console.print(f"Plot: {plot.path}", soft_wrap=True)

    def _repr_html_(self) -> str:
        return self.report.to_html()


def preflight_report(folder: Path, numbers: dict[str, Any]) -> PreflightReport:
    """Return the report of a pre-flight whose files are in `folder`; `numbers` are as in ``preflight.json``."""
    corpus = numbers["corpus"]
    columns: list[Column[Row]] = [
        Column("measure", lambda row: format_for(corpus, row[0]), format_for(corpus, "on validation actors")),
        Column("value", lambda row: row[1], "value"),
        Column("details", lambda row: format_for(corpus, row[2]), "details", is_text=True),
    ]
    groups = [rows(numbers) for rows in (_accuracy_rows, _agreement_rows, _similarity_rows, _sound_rows)]
    people = f"{format_for(corpus, 'actors')} {list_names(corpus['actors']['val'])}"
    setting = (
        f"Pre-flight: {corpus_name(corpus, numbers['channel'])}, protocol "
        f"{protocol_name(numbers['protocol'], numbers['num_folds'])}, fold {numbers['fold']}, seed {numbers['seed']}; "
        f"{corpus['clips']['val']} validation clips of {people}"
    )
    plot = Picture(folder / "preflight.png", "Accuracy, correct predictions, and face information in the sound")
    parts = [Table(columns, groups), numbers["advice"]["sentence"], plot]
    marks = warnings(corpus, numbers["speaker_dependent"])
    return PreflightReport(numbers, Report(numbers["name"], marks, [setting], [Section("", parts)]))


def _accuracy_rows(numbers: dict[str, Any]) -> list[Row]:
    gain = numbers["fusion_gain"]
    range_ = interval_text(gain["ci95"], "{:+.1f} to {:+.1f}", 100)
    details = {
        "teacher": f"{numbers['uar']['teacher']['train']:.3f} on its training clips",
        "student": f"{numbers['uar']['student']['train']:.3f} on its training clips",
        "fusion": f"{100 * gain['uar']:+.1f} points over the student ({range_})",
        "oracle": f"chance is {numbers['chance_uar']:.3f}",
    }
    names = {"fusion": "late fusion", "oracle": "either is right"}
    rows = []
    for model, value in numbers["uar"].items():
        text = f"{interval_text(value['val_ci95'])}; {details[model]}"
        rows.append((f"UAR, {names.get(model, model)}", f"{value['val']:.3f}", text))
    return rows


def _agreement_rows(numbers: dict[str, Any]) -> list[Row]:
    agreement, teaching = numbers["agreement"], numbers["teacher_on_training_clips"]
    divergence = numbers["non_target_divergence"]
    entropy = f"nats, of {teaching['highest_entropy']:.2f}; {teaching['entropy_on_validation']:.2f} on validation"
    shares = (agreement["student_errors_that_teacher_gets_right"], agreement["teacher_errors_that_student_gets_right"])
    student, teacher = ("none" if share is None else f"{share:.0%}" for share in shares)
    return [
        ("same prediction", f"{agreement['share']:.0%}", f"Cohen's kappa {agreement['kappa']:.2f}"),
        ("student's errors, teacher right", student, ""),
        ("teacher's errors, student right", teacher, ""),
        ("divergence on other classes", f"{divergence['value']:.2f}", f"nats; shuffled {_among_alike(divergence)}"),
        ("teacher's entropy, training clips", f"{teaching['entropy']:.2f}", entropy),
    ]


def _similarity_rows(numbers: dict[str, Any]) -> list[Row]:
    rows = []
    for name, value in numbers["similarity"].items():
        text = f"{value['shuffled']:.2f} shuffled, {_among_alike(value)}"
        rows.append((f"embeddings, {name.replace('_', ' ')}", f"{value['value']:.2f}", text))
    return rows


def _sound_rows(numbers: dict[str, Any]) -> list[Row]:
    rows = []
    for name, kinds in numbers["sound_carries"].items():
        within = kinds["within_actor"]
        if within["median"] is None:
            continue
        top = [one for one in within["top"][:3] if not one["dimension"].isdigit()] or within["top"][:1]
        best = ", ".join(f"{one['dimension']} {one['r2']:.2f}" for one in top)
        beyond, label, across = (_r2(kinds[kind]) for kind in ("beyond_label", "label_alone", "across_actors"))
        text = (
            f"{within['share_carried']:.0%} of {within['dimensions']} above {CARRIED_R2}, best: {best}; beyond the "
            f"label {beyond}, label alone {label}; across actors {across}"
        )
        rows.append((f"sound to {_CARRIED[name][0]}, R²", _r2(within), text))
    return rows


def _r2(kind: dict[str, Any]) -> str:
    median = kind["median"]
    return "none" if median is None else f"{round(median, 2) + 0.0:.2f}"  # + 0.0: no "-0.00"


def _among_alike(value: dict[str, float]) -> str:
    label, both = value["shuffled_in_label"], value["shuffled_in_label_and_actor"]
    return f"{label:.2f} within the label, {both:.2f} within label and actor"


def plot_preflight(numbers: dict[str, Any], path: Path, note: str = "") -> None:
    """Plot the agreement of both models, and how well sound predicts the teacher, with the warnings in `note`."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, 3, figsize=(12, 3.8), layout="constrained", gridspec_kw={"width_ratios": (1, 1.3, 1.2)}
        )
        _draw_accuracy(axes[0], numbers)
        _draw_complements(axes[1], numbers["agreement"]["clips"])
        _draw_carried(axes[2], numbers["sound_carries"])
        save_figure(figure, path, note)


def _draw_accuracy(axis: Axes, numbers: dict[str, Any]) -> None:
    for position, (model, (_, colour)) in enumerate(_BARS.items()):
        value = numbers["uar"][model]
        low, high = value["val_ci95"] or (value["val"],) * 2
        axis.bar(position, value["val"], width=0.7, color=colour)
        axis.plot([position, position], [low, high], color="black", linewidth=1.2)
        axis.text(position, high + 0.02, f"{value['val']:.2f}", ha="center", va="bottom", fontsize=8)
    axis.axhline(numbers["chance_uar"], color="#888888", linestyle=":")
    axis.text(len(_BARS) - 0.5, numbers["chance_uar"] + 0.01, "chance", ha="right", va="bottom", fontsize=7)
    axis.set_xticks(range(len(_BARS)), [label for label, _ in _BARS.values()], fontsize=8)
    axis.set(ylim=(0, 1.08), ylabel="UAR on validation", title="Accuracy")


def _draw_complements(axis: Axes, clips: dict[str, dict[str, int]]) -> None:
    labels = list(clips)
    counts = np.array([[clips[label][kind] for kind in _KINDS] for label in labels], float)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    start = np.zeros(len(labels))
    for column, (name, colour) in enumerate(_KINDS.values()):
        axis.barh(range(len(labels)), share[:, column], left=start, color=colour, label=name, height=0.75)
        start += share[:, column]
    axis.set_yticks(range(len(labels)), labels)
    axis.invert_yaxis()
    axis.set(xlim=(0, 100), xlabel="% of the clips", title="Correct predictions")
    axis.legend(frameon=False, ncols=4, fontsize=8, loc="upper center", bbox_to_anchor=(0.45, -0.15))


def _draw_carried(axis: Axes, carried: dict[str, Any]) -> None:
    highest = 0.4
    for name, kinds in carried.items():
        title, colour = _CARRIED[name]
        for kind, style in (("within_actor", "-"), ("beyond_label", ":")):
            r2 = np.sort([one for one in kinds[kind]["r2"] if one is not None])[::-1]
            label = f"{title} ({len(r2)})" if kind == "within_actor" else None
            axis.plot(np.linspace(0, 100, len(r2)), r2, style, color=colour, label=label)
            highest = max(highest, *r2)
    axis.plot([], [], ":", color="#888888", label="the same, beyond the label")
    axis.axhline(0, color="#888888", linewidth=0.8)
    axis.set(xlabel="% of the dimensions, best first", ylabel="R² on validation", ylim=(-0.2, highest + 0.2))
    axis.set_title("Face information predicted from sound")
    axis.legend(frameon=False, fontsize=8)
