"""Plots of a study. Colours come with hatches, markers or dashes, for print and for colour-blind readers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from crossmodal.evaluation.metrics import describe, uar
from crossmodal.evaluation.plots import STAGE_COLOURS, STYLE, draw_confusion, legend_below, save_figure
from crossmodal.evaluation.predictions import Predictions
from crossmodal.evaluation.report import Picture, Section
from crossmodal.studies.compare import Row
from crossmodal.studies.finished import StudyModel

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
        path = folder / f"confusion_{protocol}.png"
        shown = [one for one in models if protocol in one.runs]
        _draw_confusions(shown, protocol, path, " ".join(sentences))
        picture = Picture(path, "Rows are the true emotions, % of the row.")
        sections.append(Section(f"Confusion, {protocol}", [picture]))
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
    if (interval := numbers["uar_ci95"]) is not None:
        for colour, line in (("white", 3.2), ("black", 1.3)):  # visible on every bar
            axis.plot(interval, [middle] * 2, color=colour, linewidth=line)
    chance, ends = 1 / len(predictions.labels), (middle - 0.525 * width, middle + 0.525 * width)
    axis.plot([chance] * 2, ends, color=_INK, linewidth=1.1, linestyle=":")


def _dots(axis: Axes, predictions: Predictions, middle: float, width: float, number: int, protocol: str) -> None:
    values = [float(uar(matrix)) for matrix in predictions.confusion_by_actor().values()]
    style: dict[str, Any] = {"marker": PROTOCOL_MARKERS[number], "color": PROTOCOL_COLOURS[number], "clip_on": False}
    axis.scatter(
        values, [middle] * len(values), s=22, linewidths=0.5, alpha=0.65, label=protocol, edgecolors=_INK, **style
    )
    axis.plot([np.mean(values)] * 2, [middle - width / 2, middle + width / 2], color="black", linewidth=2)


def _draw_confusions(models: Sequence[StudyModel], protocol: str, path: Path, note: str) -> None:
    """Draw the confusion matrix of each model, four per row."""
    rows = -(-len(models) // _COLUMNS)
    with plt.rc_context(STYLE):
        size = (3.1 * _COLUMNS, 3.3 * rows + 0.4)
        figure, axes = plt.subplots(rows, _COLUMNS, figsize=size, squeeze=False, layout="constrained")
        for axis in axes.flat[len(models) :]:
            axis.set_axis_off()
        for axis, one in zip(axes.flat, models, strict=False):
            confusion = one.predictions[protocol].confusion()
            draw_confusion(axis, confusion, one.predictions[protocol].labels, first=True)
            axis.set_title(f"{one.name}: {float(uar(confusion)):.3f}", fontsize=8.5)
        save_figure(figure, path, note)


def plot_gains(rows: Sequence[Row], path: Path, title: str, note: str = "") -> None:
    """Plot the gain of each method on test actors with its interval, one dot per fold, and over self-distillation."""
    names = [f"{row['name']}  ({row['val_gain_pp']:+.1f})" for row in rows]
    label = "gain on the test speakers in points of UAR, with 95 % interval over speakers"
    with _row_axes(names, path, note, 1.7 + 0.42 * len(rows), label, legend=3) as axis:
        for place, row in enumerate(rows):
            folds = list(row["fold_gains_pp"].values())
            by_fold = "one fold, over the control"
            axis.scatter(folds, [place] * len(folds), s=13, color=_FOLD, alpha=0.55, linewidths=0, label=by_fold)
            for effect, shift, colour, marker, name in (
                (row["over_control"], -0.17, _GAIN, "o", "over the control"),
                (row["over_self"], 0.22, _SELF, "D", "over self-distillation"),
            ):
                if effect:
                    shown: dict[str, Any] = {"color": colour, "zorder": 3}
                    if interval := effect["ci95_pp"]:
                        axis.plot(interval, [place + shift] * 2, linewidth=2, solid_capstyle="butt", **shown)
                    axis.scatter(effect["gain_pp"], place + shift, s=26, marker=marker, label=name, **shown)
        axis.axvline(0, color=_INK, linewidth=0.8)
        title = f"{title} In brackets: gain on the validation speakers, the order of the methods."
        axis.set_title(fill(title, _TITLE_WIDTH), loc="left", fontsize=8)
