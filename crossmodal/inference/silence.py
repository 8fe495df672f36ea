"""Energy gate: detect recordings without sound."""

import numpy as np
from numpy.typing import NDArray

SILENCE_DB = -60.0  # dB of full scale; the quietest of 960 RAVDESS clips has -54.7, 16-bit rounding noise -101
_FRAME = 0.025  # s


def loudness(waveform: NDArray[np.float32], sample_rate: int) -> float:
    """Compute the level of the loudest 25 ms in dB of full scale; minus infinity if all samples are equal."""
    # The RMS about the mean of these 25 ms, so that the constant offset of a cheap microphone is silent.
    size = min(max(round(_FRAME * sample_rate), 1), len(waveform))
    whole = waveform[: len(waveform) // size * size].reshape(-1, size)
    power = max(float(whole.var(axis=1).max()), float(waveform[-size:].var()))  # the last frame may overlap the others
    return 10 * np.log10(power) if power > 0 else -np.inf


def is_silent(waveform: NDArray[np.float32], sample_rate: int) -> bool:
    """Return True if no 25 ms of the waveform are above `SILENCE_DB`. Arguments are those of `loudness`."""
    return loudness(waveform, sample_rate) < SILENCE_DB
