"""Plots of a report. Each function writes one PNG; `note` is the warning to print above it."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import matplotlib

matplotlib.use("Agg")  # works without a display

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crossmodal.evaluation.metrics import uar
from crossmodal.evaluation.predictions import Predictions

STAGE_COLOURS = {
    "teacher": "#8a5fbf",
    "supervised": "#5f7f9c",
    "control": "#8c8c8c",
    "transfer": "#2a9d8f",
    "finetune": "#e07a1f",
}
STAGE_DASHES = {  # readable in greyscale
    "teacher": ":",
    "supervised": (0, (5, 1)),
    "control": "--",
    "transfer": "-",
    "finetune": "-.",
}
_DPI = 130
_MAX_WIDTH = 16.0  # inches
_LETTERS = 13  # per inch in the font size of a note
STYLE = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "axes.titlesize": 10}


def plot_confusion(predictions: Mapping[str, Predictions], path: Path, note: str = "") -> None:
    """Plot a confusion matrix for each stage: rows are the true emotions, and each row sums to one."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(predictions), figsize=(3.6 * len(predictions) + 0.6, 4.0), squeeze=False, layout="constrained"
        )
        for axis, (stage, predicted) in zip(axes[0], predictions.items(), strict=True):
            matrix = predicted.confusion()
            draw_confusion(axis, matrix, predicted.labels, first=axis is axes[0][0])
            axis.set_title(f"{stage}: UAR {float(uar(matrix)):.3f}", color=STAGE_COLOURS.get(stage, "black"))
        save_figure(figure, path, note)


def plot_curves(histories: Mapping[str, Path], path: Path, note: str = "", num_classes: int | None = None) -> None:
    """Plot validation UAR and training loss of each stage by epoch, and the UAR of chance for a number of classes."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for stage, file in histories.items():
            rows = read_history(file)
            before = histories.get({"finetune": "transfer", "control": "supervised"}.get(stage, ""))
            start = len(read_history(before)) if before else 0
            style = {"color": STAGE_COLOURS[stage], "linestyle": STAGE_DASHES[stage], "label": stage}
            left.plot(*curve(rows, f"{stage}/val_uar", start), **style)
            right.plot(*curve(rows, f"{stage}/train_loss", start), **style)
        if num_classes:
            draw_chance(left, num_classes)
        left.set(xlabel="epoch", ylabel="validation UAR", ylim=(0, 1))
        right.set(xlabel="epoch", ylabel="training loss")
        right.set_ylim(bottom=0)
        left.legend(frameon=False)
        for axis in (left, right):
            axis.grid(alpha=0.25)
        save_figure(figure, path, note)


def plot_actors(student: Predictions, control: Predictions, path: Path, note: str = "") -> None:
    """Plot the UAR of each test actor for the student and the control."""
    ours, theirs = student.confusion_by_actor(), control.confusion_by_actor()
    actors = list(ours)
    with plt.rc_context(STYLE):
        width = min(max(4.0, 0.7 * len(actors) + 1.5), _MAX_WIDTH)
        figure, axis = plt.subplots(figsize=(width, 3.2), layout="constrained")
        before, after = ([float(uar(by_actor[actor])) for actor in actors] for by_actor in (theirs, ours))
        for position, (start, end) in enumerate(zip(before, after, strict=True)):
            axis.annotate("", (position, end), (position, start), arrowprops={"arrowstyle": "->", "color": "#999999"})
        axis.scatter(range(len(actors)), before, color=STAGE_COLOURS["control"], marker="s", zorder=3, label="control")
        axis.scatter(range(len(actors)), after, color=STAGE_COLOURS["finetune"], zorder=3, label="student")
        draw_chance(axis, len(student.labels))
        axis.set(xticks=range(len(actors)), xticklabels=actors, xlabel="test speaker", ylabel="UAR", ylim=(-0.03, 1))
        if width == _MAX_WIDTH or max(map(len, actors)) > 5:
            axis.tick_params(axis="x", rotation=90, labelsize=7)
        axis.margins(x=0.2 if len(actors) < 8 else 0.02)
        axis.legend(frameon=False, ncols=3, fontsize=8)
        save_figure(figure, path, note)


def draw_chance(axis: Axes, num_classes: int) -> None:
    """Draw a line at the UAR of chance."""
    axis.axhline(1 / num_classes, color="#bbbbbb", linestyle=":", label="chance")


def legend_below(figure: Figure, axis: Axes, columns: int) -> None:
    """Draw a legend below the axes, with each label once."""
    handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False)


def save_figure(figure: Figure, path: Path, note: str) -> None:
    """Write the figure with its warning as title, and close it."""
    if note:
        letters = int(_LETTERS * figure.get_figwidth())
        figure.suptitle(fill(note, letters, break_on_hyphens=False), fontsize=8, color="#b3261e")
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def draw_confusion(axis: Axes, matrix: NDArray[np.int64], labels: Sequence[str], first: bool) -> None:
    """Draw a confusion matrix in percent of each row. Only the first of several has row labels."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix > 0):
        value = share[row, column]
        colour = "white" if value > 0.5 else "black"
        axis.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=colour)
    positions = range(len(labels))
    axis.set_xticks(positions, labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axis.set_yticks(positions, labels if first else [], fontsize=8)
    axis.set_xlabel("predicted, % of row")
    axis.set_ylabel("true" if first else "")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def read_history(path: Path) -> list[dict[str, str]]:
    """Read ``metrics.csv`` of a stage, one row per epoch."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def curve(rows: list[dict[str, str]], name: str, start: int = 0) -> tuple[list[float], list[float]]:
    """Return the epochs, counted from 1 and offset by `start`, and the values of a column, without empty cells."""
    points = [(start + 1 + float(row["epoch"]), float(row[name])) for row in rows if row.get(name)]
    return [epoch for epoch, _ in points], [value for _, value in points]
