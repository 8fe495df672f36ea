"""Plots of a study of any kind: bars, dots, and small multiples with one plot per model.

Colours are always combined with hatches, markers or dashes, for print and for colour-blind readers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from crossmodal.evaluation.metrics import describe, pool, reliability, uar
from crossmodal.evaluation.plots import (
    STAGE_COLOURS,
    STAGE_DASHES,
    STYLE,
    curve,
    draw_confusion,
    legend_below,
    read_history,
    save_figure,
)
from crossmodal.evaluation.predictions import Predictions
from crossmodal.studies.finished import FinishedRun

PROTOCOL_COLOURS = ("#1f5a8a", "#f0b04a", "#7fb8a4", "#5b3a6e")  # dark, light, middle, dark: distinct in grey
PROTOCOL_MARKERS = ("o", "D", "^", "s")
_HATCHES = ("", "///", "...", "xx")
_COLUMNS = 4
_INK = "#333333"


@dataclass(frozen=True)
class Exhibit:
    """The data of one model to plot.

    Args:
        name: Name of the model.
        predictions: Predictions for the test clips by protocol, pooled over folds and seeds.
        histories: Paths of the ``metrics.csv`` of each stage, for each run, by protocol.
    """

    name: str
    predictions: dict[str, Predictions]
    histories: dict[str, list[dict[str, Path]]]

    @classmethod
    def of_runs(cls, name: str, runs: Mapping[str, Sequence[FinishedRun]], stage: str) -> "Exhibit":
        """Collect the predictions and training histories of a stage's model from runs by protocol."""
        trained = ("transfer", "finetune") if stage == "finetune" else (stage,)
        predictions = {
            protocol: pool([run.predictions(stage).of("test") for run in those]) for protocol, those in runs.items()
        }
        histories = {
            protocol: [{one: run.folder / one / "metrics.csv" for one in trained} for run in those]
            for protocol, those in runs.items()
        }
        return cls(name, predictions, histories)


@dataclass(frozen=True)
class Picture:
    """A plot of the report.

    Args:
        heading: Short title.
        path: Path of the PNG.
        caption: Explanation of the plot.
    """

    heading: str
    path: Path
    caption: str


def join_warnings(warnings: Mapping[str, Sequence[str]]) -> list[str]:
    """Merge the warnings of several protocols; name the protocols if a warning is not for all of them.

    Example:
        >>> join_warnings({"seq6": ["Synthetic."], "random": ["Synthetic.", "Speaker-dependent."]})
        ['Synthetic.', 'random: Speaker-dependent.']
    """
    protocols: dict[str, list[str]] = {}
    for protocol, sentences in warnings.items():
        for sentence in sentences:
            protocols.setdefault(sentence, []).append(protocol)
    return [
        sentence if len(names) == len(warnings) else f"{', '.join(names)}: {sentence}"
        for sentence, names in protocols.items()
    ]


def draw_gallery(exhibits: Sequence[Exhibit], folder: Path, warnings: Mapping[str, Sequence[str]]) -> list[Picture]:
    """Draw the plots of models for the page.

    Args:
        exhibits: The models, from top to bottom.
        folder: Folder for the PNGs.
        warnings: Warnings about the numbers, by protocol; its keys are the protocols.

    Returns:
        The plots, in the order of the page.
    """
    note = " ".join(join_warnings(warnings))
    pictures = [
        Picture(
            "UAR",
            folder / "bars.png",
            "UAR on the test speakers with its 95 % interval over speakers; the dotted line is chance.",
        ),
        Picture("Speakers", folder / "actors.png", "UAR of each test speaker, pooled over runs; the bar is the mean."),
    ]
    _draw_bars(exhibits, list(warnings), pictures[0].path, note)
    _draw_actors(exhibits, list(warnings), pictures[1].path, note)
    for protocol, sentences in warnings.items():
        pictures += _draw_each(exhibits, protocol, folder, " ".join(sentences))
    return pictures


def _draw_each(exhibits: Sequence[Exhibit], protocol: str, folder: Path, note: str) -> list[Picture]:
    """Draw the plots that have a panel for each model."""
    shown = [one for one in exhibits if protocol in one.predictions]
    trained = [one for one in shown if all(path.exists() for run in one.histories[protocol] for path in run.values())]
    kinds: list[tuple[str, str, Callable[[Axes, Exhibit, str], None], Sequence[Exhibit], float]] = [
        ("Confusion", "Rows are the true emotions, % of the row.", _confusion, shown, 1.06),
        ("Calibration", "Accuracy against confidence; larger dots are more clips. A calibrated model lies on the line; "
         "ECE is the mean distance from it.", _calibration, shown, 0.95),
        ("Training", "UAR on validation by epoch: mean and range over runs.", _curves, trained, 0.75),
    ]  # fmt: skip
    pictures = []
    for kind, caption, draw, models, height in kinds:
        if models:
            path = folder / f"{kind.lower()}_{protocol}.png"
            _small_multiples(models, protocol, draw, height, path, note)
            pictures.append(Picture(f"{kind}, {protocol}", path, caption))
    return pictures


def _draw_bars(exhibits: Sequence[Exhibit], protocols: Sequence[str], path: Path, note: str) -> None:
    thick = 0.8 / len(protocols)
    with plt.rc_context({**STYLE, "hatch.linewidth": 0.6}):
        figure, axis = plt.subplots(
            figsize=(8.4, 1.2 + 0.15 * len(exhibits) * (1 + len(protocols))), layout="constrained"
        )
        for place, one in enumerate(exhibits):
            for number, protocol in enumerate(protocols):
                if protocol in one.predictions:
                    numbers = describe(one.predictions[protocol])
                    middle = place - 0.4 + thick * (number + 0.5)
                    style = {"color": PROTOCOL_COLOURS[number % 4], "hatch": _HATCHES[number % 4], "edgecolor": "white"}
                    axis.barh(middle, numbers["uar"], thick * 0.92, linewidth=0, label=protocol, **style)
                    for colour, width in (("white", 3.2), ("black", 1.3)):  # visible on every bar
                        axis.plot(numbers["uar_ci95"], [middle] * 2, color=colour, linewidth=width)
            chance = 1 / len(next(iter(one.predictions.values())).labels)
            axis.plot([chance] * 2, [place - 0.42, place + 0.42], color=_INK, linewidth=1.1, linestyle=":")
        _rows(axis, [one.name for one in exhibits], "UAR on the test speakers, with 95 % interval over speakers")
        if len(protocols) > 1:
            legend_below(figure, axis, len(protocols))
        save_figure(figure, path, note)


def _draw_actors(exhibits: Sequence[Exhibit], protocols: Sequence[str], path: Path, note: str) -> None:
    apart = 0.7 / len(protocols)
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(
            figsize=(8.4, 1.2 + 0.15 * len(exhibits) * (1 + len(protocols))), layout="constrained"
        )
        for place, one in enumerate(exhibits):
            for number, protocol in enumerate(protocols):
                if protocol in one.predictions:
                    values = [float(uar(matrix)) for matrix in one.predictions[protocol].confusion_by_actor().values()]
                    middle = place - 0.35 + apart * (number + 0.5)
                    colour = PROTOCOL_COLOURS[number % 4]
                    style = {"marker": PROTOCOL_MARKERS[number % 4], "color": colour, "edgecolors": _INK, "alpha": 0.65}
                    at = [middle] * len(values)
                    axis.scatter(values, at, s=22, linewidths=0.5, label=protocol, clip_on=False, **style)
                    axis.plot(
                        [np.mean(values)] * 2, [middle - apart / 2, middle + apart / 2], color="black", linewidth=2
                    )
        _rows(axis, [one.name for one in exhibits], "UAR of each test speaker")
        if len(protocols) > 1:
            legend_below(figure, axis, len(protocols))
        save_figure(figure, path, note)


def _rows(axis: Axes, names: Sequence[str], label: str) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlim(0, 1)
    axis.set_xlabel(label)
    axis.grid(axis="x", alpha=0.25)
    axis.tick_params(axis="y", length=0)


def _small_multiples(
    exhibits: Sequence[Exhibit],
    protocol: str,
    draw: Callable[[Axes, Exhibit, str], None],
    height: float,
    path: Path,
    note: str,
) -> None:
    """Draw a panel for each model, four per row; `height` is relative to the width."""
    rows = -(-len(exhibits) // _COLUMNS)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, _COLUMNS, figsize=(3.1 * _COLUMNS, 3.1 * height * rows + 0.4), squeeze=False, layout="constrained"
        )
        for axis in axes.flat[len(exhibits) :]:
            axis.set_axis_off()
        for axis, one in zip(axes.flat, exhibits, strict=False):
            draw(axis, one, protocol)
        save_figure(figure, path, note)


def _confusion(axis: Axes, one: Exhibit, protocol: str) -> None:
    predictions = one.predictions[protocol]
    draw_confusion(axis, predictions.confusion(), predictions.labels, first=True)
    axis.set_xlabel("")
    axis.set_title(f"{one.name}: {float(uar(predictions.confusion())):.3f}", fontsize=8.5)


def _calibration(axis: Axes, one: Exhibit, protocol: str) -> None:
    confidence, accuracy, share = reliability(one.predictions[protocol])
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
    axis.plot(confidence, accuracy, color=PROTOCOL_COLOURS[0], linewidth=1)
    axis.scatter(confidence, accuracy, s=8 + 240 * share, color=PROTOCOL_COLOURS[0], alpha=0.75, linewidths=0)
    error = float(np.sum(share * np.abs(accuracy - confidence)))
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axis.set_title(f"{one.name}: ECE {error:.3f}", fontsize=8.5)


def _curves(axis: Axes, one: Exhibit, protocol: str) -> None:
    runs = [{stage: read_history(path) for stage, path in run.items()} for run in one.histories[protocol]]
    for stage in runs[0]:
        start = len(runs[0].get("transfer", [])) if stage == "finetune" else 0  # it continues transfer
        drawn = [curve(run[stage], f"{stage}/val_uar", start) for run in runs]
        most = min(len(values) for _, values in drawn)
        values = np.array([values[:most] for _, values in drawn])
        epochs = drawn[0][0][:most]
        axis.fill_between(epochs, values.min(0), values.max(0), color=STAGE_COLOURS[stage], alpha=0.22, linewidth=0)
        axis.plot(epochs, values.mean(0), color=STAGE_COLOURS[stage], linestyle=STAGE_DASHES[stage], label=stage)
    axis.set_ylim(0, 1)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.set_title(one.name, fontsize=8.5)
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=7, loc="lower right")
