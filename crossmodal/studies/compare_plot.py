"""Plots of differences: the gain of each method, and the claims."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from crossmodal.evaluation.metrics import Interval
from crossmodal.evaluation.plots import STAGE_COLOURS, STYLE, legend_below, save_figure
from crossmodal.studies.compare import Effect, Row
from crossmodal.studies.gallery import PROTOCOL_COLOURS, PROTOCOL_MARKERS
from crossmodal.studies.thesis.claims import Claim

_LINE = 105  # characters per line of the title
_GAIN, _SELF, _FOLD = STAGE_COLOURS["finetune"], STAGE_COLOURS["teacher"], "#555555"


def plot_gains(rows: Sequence[Row], path: Path, title: str, note: str = "") -> None:
    """Plot the gain of each method on test actors with its interval, one dot per fold, and over self-distillation.

    Args:
        rows: The methods, from top to bottom.
        path: The PNG to write.
        title: Description of the data.
        note: Warnings about the numbers.
    """
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8.4, 1.7 + 0.42 * len(rows)), layout="constrained")
        axis.axvline(0, color="#333333", linewidth=0.8)
        for place, row in enumerate(rows):
            folds = list(row["fold_gains_pp"].values())
            label = "one fold, over the control"
            axis.scatter(folds, [place] * len(folds), s=13, color=_FOLD, alpha=0.55, linewidths=0, label=label)
            _draw_effect(axis, row["over_control"], place - 0.17, _GAIN, "o", "over the control")
            _draw_effect(axis, row["over_self"], place + 0.22, _SELF, "D", "over self-distillation")
        axis.set_yticks(range(len(rows)), [f"{row['name']}  ({row['val_gain_pp']:+.1f})" for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlabel("gain on the test speakers in points of UAR, with 95 % interval over speakers")
        title = fill(f"{title}. In brackets: gain on the validation speakers, the order of the methods.", _LINE)
        axis.set_title(title, loc="left", fontsize=8)
        axis.grid(axis="x", alpha=0.25)
        axis.tick_params(axis="y", length=0)
        legend_below(figure, axis, 3)
        save_figure(figure, path, note)


def plot_claims(claims: Sequence[Claim], path: Path, title: str, note: str = "") -> None:
    """Plot the difference of each claim with its interval, under each protocol.

    Args:
        claims: The claims; those without an answer leave a gap.
        path: The PNG to write.
        title: Description of the data.
        note: Warnings about the numbers.
    """
    questions = list(dict.fromkeys(claim["question"] for claim in claims))
    protocols = list(dict.fromkeys(claim["protocol"] for claim in claims))
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8.4, 1.6 + 0.6 * len(questions)), layout="constrained")
        axis.axvline(0, color="#333333", linewidth=0.8)
        for claim in claims:
            number = protocols.index(claim["protocol"])
            place = questions.index(claim["question"]) + 0.3 * (number - (len(protocols) - 1) / 2)
            style = PROTOCOL_COLOURS[number % 4], PROTOCOL_MARKERS[number % 4], claim["protocol"]
            if difference := claim["difference"]:
                _draw_interval(axis, difference["gain_pp"], difference["ci95_pp"], place, *style)
            else:
                axis.text(0, place, f"  {claim['protocol']}: no runs", fontsize=7, va="center", color="#555555")
        axis.set_yticks(range(len(questions)), [fill(question, 44) for question in questions])
        axis.set_ylim(len(questions) - 0.5, -0.5)
        axis.set_xlabel("difference on the test speakers in points of UAR, with 95 % interval over speakers")
        axis.set_title(fill(title, _LINE), loc="left", fontsize=8)
        axis.grid(axis="x", alpha=0.25)
        axis.tick_params(axis="y", length=0)
        legend_below(figure, axis, 4)
        save_figure(figure, path, note)


def _draw_effect(axis: Axes, effect: Effect | None, place: float, colour: str, marker: str, label: str) -> None:
    if effect:
        _draw_interval(axis, effect["gain_pp"], effect["ci95_pp"], place, colour, marker, label)


def _draw_interval(
    axis: Axes, gain: float, interval: Interval, place: float, colour: str, marker: str, label: str
) -> None:
    axis.plot(interval, [place, place], color=colour, linewidth=2, solid_capstyle="butt", zorder=3)
    axis.scatter(gain, place, s=26, color=colour, marker=marker, zorder=4, label=label)
