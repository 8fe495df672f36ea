"""Comparison of the sound of a video with the wav of the same performance: lag and similarity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from crossmodal.datasets.ravdess import MP4_SOUND_DELAY

Floats = NDArray[np.float32]

SYNC_RATE = 48_000  # Hz, as published: resampling would add differences
LAG_TOLERANCE = 5.0  # ms
LEAST_CORRELATION = 0.9  # intact files have 0.9995 or more, different clips 0.3 or less

_WINDOW = SYNC_RATE // 25  # 40 ms
# Largest difference in a window relative to the level of the wav: AAC reaches 0.15, a damaged packet 1.
_LARGEST_DIFFERENCE, _LEVEL_FLOOR = 0.5, 0.003


@dataclass(frozen=True)
class Sync:
    """Comparison of two recordings of one sound."""

    lag: float  # of the video relative to the wav, in milliseconds
    correlation: float  # after alignment


def compare_sounds(of_video: Floats, of_wav: Floats) -> tuple[Sync, str | None]:
    """Compare the sound of a video with the wav, (T,) and (U,) at `SYNC_RATE`, and return a message if they differ.

    The lag of the comparison is the one with the highest correlation.
    """
    offset = int(signal.correlate(of_video, of_wav, method="fft").argmax()) - (len(of_wav) - 1)
    video, wav = of_video[max(offset, 0) :], of_wav[max(-offset, 0) :]
    shared = min(len(video), len(wav))
    video, wav = video[:shared], wav[:shared]
    power = float(wav @ wav), float(video @ video)
    correlation = float(video @ wav) / np.sqrt(max(power[0] * power[1], 1e-12))
    sync = Sync(lag=1000 * offset / SYNC_RATE, correlation=correlation)
    expected = 1000 * MP4_SOUND_DELAY
    if correlation < LEAST_CORRELATION:
        return sync, f"its sound is not that of the wav: the correlation is {correlation:.2f}"
    if abs(sync.lag - expected) > LAG_TOLERANCE:
        return sync, f"its sound is delayed by {sync.lag:.1f} ms relative to the wav, instead of {expected:.1f} ms"
    difference = _differences(video, wav * (float(video @ wav) / power[0]))
    if difference.max(initial=0) > _LARGEST_DIFFERENCE:
        when = int(difference.argmax()) * _WINDOW / SYNC_RATE
        return sync, f"its sound differs from the wav at {when:.2f} s: one of them is damaged"
    return sync, None


def _differences(video: Floats, wav: Floats) -> Floats:
    """Return the difference of each window relative to the level of the wav."""
    windows = len(wav) // _WINDOW
    parts = [sound[: windows * _WINDOW].reshape(windows, _WINDOW) for sound in (video - wav, wav)]
    apart, level = (np.sqrt((part**2).mean(axis=1)) for part in parts)
    differences: Floats = apart / np.maximum(level, _LEVEL_FLOOR)
    return differences
