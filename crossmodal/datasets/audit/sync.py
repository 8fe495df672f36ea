"""The sound of a video against the wav of the same performance: how late it is, and whether it is the same."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmodal.datasets.ravdess import MP4_SOUND_DELAY

Floats = NDArray[np.float32]

SYNC_RATE = 48_000  # Hz, RAVDESS's own: what lies between two samples of a lower rate would look like a difference
LAG_TOLERANCE = 5.0  # ms
LEAST_CORRELATION = 0.9  # good files have 0.9995 or more, sounds of other clips 0.3 or less

_WINDOW = SYNC_RATE // 25  # 40 ms
# Of the wav's level, how much the video's sound may differ in a window: AAC reaches 0.15, a damaged packet 1.
_LARGEST_DIFFERENCE, _LEVEL_FLOOR = 0.5, 0.003


@dataclass(frozen=True)
class Sync:
    """How two recordings of one sound compare.

    Args:
        lag: How much later the video's sound is than the wav's, in milliseconds.
        correlation: Of the two, once they are put over each other.
    """

    lag: float
    correlation: float


def compare_sounds(of_video: Floats, of_wav: Floats) -> tuple[Sync, str | None]:
    """Find the lag at which the sound of a video is most like that of the wav.

    Args:
        of_video: (T,) at `SYNC_RATE`.
        of_wav: (U,) at `SYNC_RATE`.

    Returns:
        How they compare; and what is wrong, if so.
    """
    size = 1 << (len(of_video) + len(of_wav) - 1).bit_length()
    spectrum = np.fft.rfft(of_video, size) * np.conj(np.fft.rfft(of_wav, size))
    offset = int(np.fft.irfft(spectrum, size).argmax())
    offset -= size if offset > size // 2 else 0
    video, wav = of_video[max(offset, 0) :], of_wav[max(-offset, 0) :]
    shared = min(len(video), len(wav))
    video, wav = video[:shared], wav[:shared]
    power = float(wav @ wav), float(video @ video)
    correlation = float(video @ wav) / np.sqrt(max(power[0] * power[1], 1e-12))
    sync = Sync(lag=1000 * offset / SYNC_RATE, correlation=correlation)
    expected = 1000 * MP4_SOUND_DELAY
    if correlation < LEAST_CORRELATION:
        return sync, f"its sound is not the wav's: the correlation is {correlation:.2f}"
    if abs(sync.lag - expected) > LAG_TOLERANCE:
        return sync, f"its sound is {sync.lag:.1f} ms later than the wav's, and should be {expected:.1f} ms later"
    difference = _differences(video, wav * (float(video @ wav) / power[0]))
    if difference.max(initial=0) > _LARGEST_DIFFERENCE:
        when = int(difference.argmax()) * _WINDOW / SYNC_RATE
        return sync, f"its sound differs from the wav's at {when:.2f} s: one of the two is damaged"
    return sync, None


def _differences(video: Floats, wav: Floats) -> Floats:
    """For each window how much the two differ, relative to the wav's level."""
    windows = len(wav) // _WINDOW
    parts = [sound[: windows * _WINDOW].reshape(windows, _WINDOW) for sound in (video - wav, wav)]
    apart, level = (np.sqrt((part**2).mean(axis=1)) for part in parts)
    differences: Floats = apart / np.maximum(level, _LEVEL_FLOOR)
    return differences
