"""The pictures of the page: paths of SVG that stretch to any width, and the spectrogram as a PNG."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossmodal.inference.predict.overview import Overview

WIDTH, HEIGHT = 1000, 100  # of every drawing, in its own units
_COLUMNS = 1000  # of waveform and spectrogram, at most
_RANGE = 70.0  # dB below the loudest that are shown
_MAP = "magma"  # equal steps look equal, also in grey and to every eye


def waveform_path(overview: Overview, duration: float) -> str:
    """The outline of a waveform, as the path of an SVG of `WIDTH` by `HEIGHT`.

    Args:
        overview: Of the recording; its loudest sample reaches the edge of the picture.
        duration: Of the recording, in seconds: the width of the picture.
    """
    starts = _starts(overview)
    low, high = np.minimum.reduceat(overview.low, starts), np.maximum.reduceat(overview.high, starts)
    peak = max(float(high.max()), -float(low.min()), 1e-9)
    places = np.minimum(WIDTH * overview.times[starts] / duration, WIDTH)
    there = [f"{place:.1f} {y:.1f}" for place, y in zip(places, HEIGHT / 2 * (1 - high / peak), strict=True)]
    back = [f"{place:.1f} {y:.1f}" for place, y in zip(places, HEIGHT / 2 * (1 - low / peak), strict=True)]
    return f"M{' L'.join([*there, *back[::-1]])}Z"


def steps_path(edges: Sequence[float] | NDArray[np.float64], values: Sequence[float] | NDArray[np.float64]) -> str:
    """An area under steps, as the path of an SVG of `WIDTH` by `HEIGHT`.

    Args:
        edges: N + 1 instants, ascending.
        values: N, each from 0 to 1, from one edge to the next.

    Example:
        >>> steps_path([0.0, 1.0, 2.0], [0.5, 1.0])
        'M0 100 V50.0 H500.0 V0.0 H1000.0 V100Z'
    """
    start, span = edges[0], edges[-1] - edges[0]
    steps = [
        f"V{HEIGHT * (1 - value):.1f} H{WIDTH * (edge - start) / span:.1f}"
        for edge, value in zip(edges[1:], values, strict=True)
    ]
    return f"M0 {HEIGHT} {' '.join(steps)} V{HEIGHT}Z"


def spectrogram_png(overview: Overview) -> str:
    """The spectrogram, low frequencies below, as the address of a picture that holds the picture itself."""
    from matplotlib import colormaps
    from PIL import Image

    starts = _starts(overview)
    power = np.add.reduceat(overview.power, starts) / np.diff([*starts, len(overview.power)])[:, None]
    decibels = 10 * np.log10(power.T[::-1] / max(float(power.max()), 1e-12) + 1e-12)
    pixels = colormaps[_MAP](1 + decibels / _RANGE, bytes=True)[..., :3]
    file = io.BytesIO()
    Image.fromarray(pixels).quantize(64).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _starts(overview: Overview) -> NDArray[np.int64]:
    """The first of each group of columns that is drawn as one."""
    return np.arange(0, len(overview.low), -(-len(overview.low) // _COLUMNS))


def ticks(duration: float) -> list[float]:
    """Round instants for an axis of time, in seconds from 0: some five, none at the very end.

    Example:
        >>> ticks(3.3)
        [0, 1, 2, 3]
    """
    steps = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
    step = next((step for step in steps if duration / step <= 6), duration / 5)
    return [round(place * step, 6) for place in range(int(duration / step) + 1) if place * step <= 0.97 * duration]
