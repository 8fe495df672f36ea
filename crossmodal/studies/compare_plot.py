"""Plots of differences: the gain of each method, and the claims."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes

from crossmodal.evaluation.metrics import Interval
from crossmodal.evaluation.plots import STAGE_COLOURS
from crossmodal.studies.compare import Row
from crossmodal.studies.gallery import PROTOCOL_COLOURS, PROTOCOL_MARKERS, row_axes
from crossmodal.studies.thesis.claims import Claim

_LINE = 105  # characters per line of the title
_GAIN, _SELF, _FOLD = STAGE_COLOURS["finetune"], STAGE_COLOURS["teacher"], "#555555"


def plot_gains(rows: Sequence[Row], path: Path, title: str, note: str = "") -> None:
    """Plot the gain of each method on test actors with its interval, one dot per fold, and over self-distillation."""
    names = [f"{row['name']}  ({row['val_gain_pp']:+.1f})" for row in rows]
    label = "gain on the test speakers in points of UAR, with 95 % interval over speakers"
    with row_axes(names, path, note, 1.7 + 0.42 * len(rows), label, legend=3) as axis:
        for place, row in enumerate(rows):
            folds = list(row["fold_gains_pp"].values())
            dots: dict[str, Any] = {
                "s": 13,
                "color": _FOLD,
                "alpha": 0.55,
                "linewidths": 0,
                "label": "one fold, over the control",
            }
            axis.scatter(folds, [place] * len(folds), **dots)
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
    with row_axes(names, path, note, 1.6 + 0.6 * len(questions), label, legend=4) as axis:
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
    axis.set_title(fill(title, _LINE), loc="left", fontsize=8)
