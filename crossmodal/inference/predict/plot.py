"""Plot of a timeline: waveform, spectrogram and emotions."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossmodal.errors import ConfigError
from crossmodal.inference.colours import SILENCE_COLOUR, colours_of, ink_on
from crossmodal.inference.predict.overview import RATE, Overview, compute_overview
from crossmodal.inference.prediction import SILENCE, Segment, Timeline
from crossmodal.inference.recording import Recording
from crossmodal.inference.timeline import means_over_time
from crossmodal.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_FORMATS = (".png", ".pdf", ".svg")
_INCHES, _DPI = (12.0, 7.0), 130
_RANGE = 70.0  # dB, dynamic range of the spectrogram
_IN_SECONDS = 90.0  # s, longest time axis in seconds
_STEPS, _TICKS = (15, 30, 60, 120, 300, 600, 1200, 3600, 7200, 14_400), 12  # s between ticks; maximum number of ticks
_LETTER = 0.0068  # width of a letter as a fraction of the plot


def plot_timeline(recording: Recording, timeline: Timeline, path: Path, title: str = "") -> None:
    """Plot a recording, read block by block, and its timeline to a png, pdf or svg file."""
    from matplotlib.figure import Figure  # not pyplot, which opens windows and shares state

    if path.suffix.lower() not in PLOT_FORMATS:
        raise ConfigError(f"A plot must end in {', '.join(PLOT_FORMATS)}, not {path.name!r}.")
    overview = compute_overview(recording, timeline.duration)
    figure = Figure(figsize=_INCHES, layout="constrained")
    wave, spectrum, bands, shares = figure.subplots(4, 1, sharex=True, height_ratios=(1.1, 2.0, 0.7, 2.2))
    wave.set_title(title, loc="left", fontsize=11)
    _draw_sound(wave, spectrum, overview)
    _draw_segments(bands, timeline)
    image = _draw_probabilities(shares, timeline)
    figure.colorbar(image, ax=shares, label="probability", aspect=12, pad=0.01)
    _draw_time(shares, timeline.duration)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=_DPI)


def _draw_sound(wave: "Axes", spectrum: "Axes", overview: Overview) -> None:
    wave.fill_between(overview.times, overview.low, overview.high, color="#444444", linewidth=0)
    peak = max(float(np.abs([overview.low, overview.high]).max()), 1e-3)
    wave.set(ylim=(-1.05 * peak, 1.05 * peak), ylabel="waveform")
    power = overview.power.T
    decibels = 10 * np.log10(power / max(float(power.max()), 1e-12) + 1e-12)
    extent = (0.0, overview.duration, 0.0, RATE / 2000)
    scale: dict[str, Any] = {"cmap": "magma", "vmin": -_RANGE, "vmax": 0, "interpolation": "nearest"}
    spectrum.imshow(decibels, origin="lower", aspect="auto", extent=extent, **scale)
    spectrum.set_ylabel("kHz")


def _draw_segments(axis: "Axes", timeline: Timeline) -> None:
    """Draw segments as coloured bands, with the name of the emotion where it fits."""
    colours = colours_of(timeline.labels)
    for segment in timeline.segments:
        colour = colours[segment.label]
        wide = (segment.end - segment.start) / timeline.duration > _LETTER  # an edge would hide narrower bands
        axis.axvspan(segment.start, segment.end, facecolor=colour, edgecolor="white", linewidth=float(wide))
        text, rotation = _fitting(segment, timeline.duration)
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "clip_on": True, "rotation": rotation}
        axis.text((segment.start + segment.end) / 2, 0.48, text, color=ink_on(colour), **style)
    axis.set(ylim=(0, 1), yticks=[], ylabel="emotion")


def _fitting(segment: Segment, duration: float) -> tuple[str, int]:
    """Return the part of a segment's name and probability that fits into its band, and its rotation in degrees."""
    room = (segment.end - segment.start) / duration / _LETTER
    whole = segment.label if segment.label == SILENCE else f"{segment.label} {segment.score:.2f}"
    level = next((text for text in (whole, segment.label) if len(text) + 1 <= room), "")
    return (level, 0) if level or room < 2 else (segment.label, 90)


def _draw_probabilities(axis: "Axes", timeline: Timeline) -> Any:
    """Draw one row per emotion: the mean probability over the windows that contain an instant."""
    edges, means = means_over_time(timeline.windows, timeline.labels)
    rows = np.arange(len(timeline.labels) + 1)
    visible = np.ma.masked_array(means[:, :-1], np.repeat(means[:, -1:] > 0.5, len(timeline.labels), axis=1))
    image = axis.pcolormesh(edges, rows, visible.T, cmap="Blues", vmin=0, vmax=1, rasterized=True)
    axis.set_facecolor(SILENCE_COLOUR)
    axis.set_yticks(rows[:-1] + 0.5, timeline.labels)
    colours = colours_of(timeline.labels)
    for tick, label in zip(axis.get_yticklabels(), timeline.labels, strict=True):
        tick.set_bbox({"facecolor": colours[label], "edgecolor": "none", "pad": 1.5})
        tick.set_color(ink_on(colours[label]))
    axis.hlines(rows[1:-1], 0, timeline.duration, color="white", linewidth=1.5)
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    return image


def _draw_time(axis: "Axes", duration: float) -> None:
    axis.set_xlim(0, duration)
    axis.set_xlabel("time in seconds")
    if duration > _IN_SECONDS:
        step = next((step for step in _STEPS if duration / step <= _TICKS), _STEPS[-1])
        axis.set_xticks(np.arange(0, duration, step))
        axis.xaxis.set_major_formatter(_clock)
        axis.set_xlabel("time")


def _clock(seconds: float, _position: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
