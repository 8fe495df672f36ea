"""Plots of a study. Colours come with hatches, markers or dashes, for print and for colour-blind readers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from crossmodal.evaluation.metrics import Interval, describe, reliability, uar
from crossmodal.evaluation.plots import (
    STAGE_COLOURS,
    STAGE_DASHES,
    STYLE,
    curve,
    draw_chance,
    draw_confusion,
    legend_below,
    read_history,
    save_figure,
)
from crossmodal.evaluation.predictions import Predictions
from crossmodal.evaluation.report import Picture, Section
from crossmodal.studies.compare import Row
from crossmodal.studies.finished import StudyModel
from crossmodal.studies.thesis.claims import Claim

PROTOCOL_COLOURS = ("#1f5a8a", "#f0b04a", "#7fb8a4", "#5b3a6e")  # dark, light, middle, dark: distinct in grey
PROTOCOL_MARKERS = ("o", "D", "^", "s")
_HATCHES = ("", "///", "...", "xx")
_COLUMNS = 4
_INK = "#333333"
_TITLE_WIDTH = 105  # characters per line of the title of differences
_GAIN, _SELF, _FOLD = STAGE_COLOURS["finetune"], STAGE_COLOURS["teacher"], "#555555"


def join_warnings(warnings: Mapping[str, Sequence[str]]) -> list[str]:
    """Merge the warnings of several protocols; name the protocols if a warning is not for all of them."""
    protocols: dict[str, list[str]] = {}
    for protocol, sentences in warnings.items():
        for sentence in sentences:
            protocols.setdefault(sentence, []).append(protocol)
    return [
        sentence if len(names) == len(warnings) else f"{', '.join(names)}: {sentence}"
        for sentence, names in protocols.items()
    ]


def draw_gallery(models: Sequence[StudyModel], folder: Path, warnings: Mapping[str, Sequence[str]]) -> list[Section]:
    """Draw the plots of models, from top to bottom, into a folder, and return a section for each plot.

    `warnings` are about the numbers of each protocol; its keys are the protocols to plot.
    """
    note, sections = " ".join(join_warnings(warnings)), []
    for heading, name, caption, draw, space, label in (
        ("UAR", "bars.png", "UAR on the test speakers with its 95 % interval over speakers; the dotted line is chance.",
         _bar, 0.8, "UAR on the test speakers, with 95 % interval over speakers"),
        ("Speakers", "actors.png", "UAR of each test speaker, pooled over runs; the bar is the mean.",
         _dots, 0.7, "UAR of each test speaker"),
    ):  # fmt: skip
        _draw_rows(models, list(warnings), folder / name, note, draw, space, label)
        sections.append(Section(heading, [Picture(folder / name, caption)]))
    for protocol, sentences in warnings.items():
        shown = [one for one in models if protocol in one.runs]
        trained = [
            one for one in shown if all(path.exists() for run in one.histories(protocol) for path in run.values())
        ]
        for kind, caption, panel, drawn, height in (
            ("Confusion", "Rows are the true emotions, % of the row.", _confusion, shown, 1.06),
            ("Calibration", "Accuracy against confidence; larger dots are more clips. A calibrated model lies on the "
             "line; ECE is the mean distance from it.", _calibration, shown, 0.95),
            ("Training", "UAR on validation by epoch: mean and range over runs.", _curves, trained, 0.75),
        ):  # fmt: skip
            path = folder / f"{kind.lower()}_{protocol}.png"
            if drawn:
                _small_multiples(drawn, protocol, panel, height, path, " ".join(sentences))
                sections.append(Section(f"{kind}, {protocol}", [Picture(path, caption)]))
    return sections


@contextmanager
def _row_axes(names: Sequence[str], path: Path, note: str, height: float, label: str, legend: int) -> Iterator[Axes]:
    """Yield axes with a named row for each model, and save the figure; `legend` is its number of columns, or 0."""
    with plt.rc_context({**STYLE, "hatch.linewidth": 0.6}):
        figure, axis = plt.subplots(figsize=(8.4, height), layout="constrained")
        yield axis
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_xlabel(label)
        axis.grid(axis="x", alpha=0.25)
        axis.tick_params(axis="y", length=0)
        if legend:
            legend_below(figure, axis, legend)
        save_figure(figure, path, note)


def _draw_rows(
    models: Sequence[StudyModel],
    protocols: Sequence[str],
    path: Path,
    note: str,
    draw: Callable[[Axes, Predictions, float, float, int, str], None],
    space: float,
    label: str,
) -> None:
    """Draw the predictions of each model in a row, one protocol below the other in `space` of the row."""
    height, width = 1.2 + 0.15 * len(models) * (1 + len(protocols)), space / len(protocols)
    legend = len(protocols) if len(protocols) > 1 else 0
    with _row_axes([one.name for one in models], path, note, height, label, legend) as axis:
        for place, one in enumerate(models):
            for number, protocol in enumerate(protocols):
                if protocol in one.runs:
                    middle = place - space / 2 + width * (number + 0.5)
                    draw(axis, one.predictions[protocol], middle, width, number % 4, protocol)
        axis.set_xlim(0, 1)


def _bar(axis: Axes, predictions: Predictions, middle: float, width: float, number: int, protocol: str) -> None:
    numbers = describe(predictions)
    style: dict[str, Any] = {"color": PROTOCOL_COLOURS[number], "hatch": _HATCHES[number], "edgecolor": "white"}
    axis.barh(middle, numbers["uar"], width * 0.92, linewidth=0, label=protocol, **style)
    for colour, line in (("white", 3.2), ("black", 1.3)):  # visible on every bar
        axis.plot(numbers["uar_ci95"], [middle] * 2, color=colour, linewidth=line)
    chance, ends = 1 / len(predictions.labels), (middle - 0.525 * width, middle + 0.525 * width)
    axis.plot([chance] * 2, ends, color=_INK, linewidth=1.1, linestyle=":")


def _dots(axis: Axes, predictions: Predictions, middle: float, width: float, number: int, protocol: str) -> None:
    values = [float(uar(matrix)) for matrix in predictions.confusion_by_actor().values()]
    style: dict[str, Any] = {"marker": PROTOCOL_MARKERS[number], "color": PROTOCOL_COLOURS[number], "clip_on": False}
    axis.scatter(
        values, [middle] * len(values), s=22, linewidths=0.5, alpha=0.65, label=protocol, edgecolors=_INK, **style
    )
    axis.plot([np.mean(values)] * 2, [middle - width / 2, middle + width / 2], color="black", linewidth=2)


def _small_multiples(
    models: Sequence[StudyModel],
    protocol: str,
    draw: Callable[[Axes, StudyModel, str], None],
    height: float,
    path: Path,
    note: str,
) -> None:
    """Draw a panel for each model, four per row; `height` is relative to the width."""
    rows = -(-len(models) // _COLUMNS)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, _COLUMNS, figsize=(3.1 * _COLUMNS, 3.1 * height * rows + 0.4), squeeze=False, layout="constrained"
        )
        for axis in axes.flat[len(models) :]:
            axis.set_axis_off()
        for axis, one in zip(axes.flat, models, strict=False):
            draw(axis, one, protocol)
        save_figure(figure, path, note)


def _confusion(axis: Axes, one: StudyModel, protocol: str) -> None:
    predictions = one.predictions[protocol]
    draw_confusion(axis, predictions.confusion(), predictions.labels, first=True)
    axis.set_title(f"{one.name}: {float(uar(predictions.confusion())):.3f}", fontsize=8.5)


def _calibration(axis: Axes, one: StudyModel, protocol: str) -> None:
    confidence, accuracy, share = reliability(one.predictions[protocol])
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
    axis.plot(confidence, accuracy, color=PROTOCOL_COLOURS[0], linewidth=1)
    axis.scatter(confidence, accuracy, s=8 + 240 * share, color=PROTOCOL_COLOURS[0], alpha=0.75, linewidths=0)
    error = float(np.sum(share * np.abs(accuracy - confidence)))
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axis.set_title(f"{one.name}: ECE {error:.3f}", fontsize=8.5)


def _curves(axis: Axes, one: StudyModel, protocol: str) -> None:
    runs = [{stage: read_history(path) for stage, path in run.items()} for run in one.histories(protocol)]
    for stage in runs[0]:
        start = len(runs[0].get("transfer", [])) if stage == "finetune" else 0  # it continues transfer
        drawn = [curve(run[stage], f"{stage}/val_uar", start) for run in runs]
        most = min(len(values) for _, values in drawn)
        values = np.array([values[:most] for _, values in drawn])
        epochs = drawn[0][0][:most]
        axis.fill_between(epochs, values.min(0), values.max(0), color=STAGE_COLOURS[stage], alpha=0.22, linewidth=0)
        axis.plot(epochs, values.mean(0), color=STAGE_COLOURS[stage], linestyle=STAGE_DASHES[stage], label=stage)
    draw_chance(axis, len(one.predictions[protocol].labels))
    axis.set_ylim(0, 1)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.set_title(one.name, fontsize=8.5)
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=7, loc="lower right")


def plot_gains(rows: Sequence[Row], path: Path, title: str, note: str = "") -> None:
    """Plot the gain of each method on test actors with its interval, one dot per fold, and over self-distillation."""
    names = [f"{row['name']}  ({row['val_gain_pp']:+.1f})" for row in rows]
    label = "gain on the test speakers in points of UAR, with 95 % interval over speakers"
    with _row_axes(names, path, note, 1.7 + 0.42 * len(rows), label, legend=3) as axis:
        for place, row in enumerate(rows):
            folds = list(row["fold_gains_pp"].values())
            by_fold = "one fold, over the control"
            axis.scatter(folds, [place] * len(folds), s=13, color=_FOLD, alpha=0.55, linewidths=0, label=by_fold)
            for effect, shift, *style in (
                (row["over_control"], -0.17, _GAIN, "o", "over the control"),
                (row["over_self"], 0.22, _SELF, "D", "over self-distillation"),
            ):
                if effect:
                    _draw_interval(axis, effect["gain_pp"], effect["ci95_pp"], place + shift, *style)
        _finish(axis, f"{title} In brackets: gain on the validation speakers, the order of the methods.")


def plot_claims(claims: Sequence[Claim], path: Path, title: str, note: str = "") -> None:
    """Plot the difference of each claim with its interval, under each protocol."""
    questions = list(dict.fromkeys(claim["question"] for claim in claims))
    protocols = list(dict.fromkeys(claim["protocol"] for claim in claims))
    names = [fill(question, 44) for question in questions]
    label = "difference on the test speakers in points of UAR, with 95 % interval over speakers"
    with _row_axes(names, path, note, 1.6 + 0.6 * len(questions), label, legend=4) as axis:
        for claim in claims:
            number = protocols.index(claim["protocol"])
            place = questions.index(claim["question"]) + 0.3 * (number - (len(protocols) - 1) / 2)
            style = PROTOCOL_COLOURS[number % 4], PROTOCOL_MARKERS[number % 4], claim["protocol"]
            if difference := claim["difference"]:
                _draw_interval(axis, difference["gain_pp"], difference["ci95_pp"], place, *style)
            else:
                axis.text(0, place, f"  {claim['protocol']}: no runs", fontsize=7, va="center", color="#555555")
        _finish(axis, title)


def _draw_interval(
    axis: Axes, gain: float, interval: Interval, place: float, colour: str, marker: str, label: str
) -> None:
    axis.plot(interval, [place, place], color=colour, linewidth=2, solid_capstyle="butt", zorder=3)
    axis.scatter(gain, place, s=26, color=colour, marker=marker, zorder=4, label=label)


def _finish(axis: Axes, title: str) -> None:
    axis.axvline(0, color="#333333", linewidth=0.8)
    axis.set_title(fill(title, _TITLE_WIDTH), loc="left", fontsize=8)
