"""Waveform envelope and spectrogram of a recording of any length, in a few thousand columns."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.inference.recording import Recording, open_recording

RATE = 16_000  # Hz; frequencies up to half of it are shown
_FRAME, _HOP = 400, 64  # samples: 25 ms every 4 ms
_FFT = 512
MOST_COLUMNS = 4000


@dataclass(frozen=True)
class Overview:
    """Envelope and spectrogram of a recording in n columns of equal duration, the last one padded."""

    duration: float  # s, with the padding
    low: NDArray[np.float32]  # (n,) smallest sample
    high: NDArray[np.float32]  # (n,) largest sample
    power: NDArray[np.float32]  # (n, F) mean power at F frequencies from 0 Hz to half of `RATE`

    @property
    def times(self) -> NDArray[np.float64]:
        """(n,) centres of the columns in seconds."""
        return (np.arange(len(self.low)) + 0.5) * self.duration / len(self.low)


def compute_overview(recording: Recording, duration: float) -> Overview:
    """Compute the overview of a recording of `duration` seconds block by block, in constant memory."""
    columns = _Columns(hops=math.ceil(duration * RATE / _HOP / MOST_COLUMNS))
    with open_recording(recording, None, RATE) as (rate, blocks):
        for block in media.resample_blocks(blocks, rate, RATE):
            columns.add(block)
    return columns.finish()


class _Columns:
    """Columns of at least 4 ms, each of the same number of hops."""

    def __init__(self, hops: int) -> None:
        self._hops = hops
        self._samples = 0
        self._padding = (_FRAME - _HOP) // 2  # centres the first frame on the first hop
        self._waiting = np.zeros(self._padding, np.float32)
        self._columns: list[tuple[NDArray[np.float32], ...]] = []

    def add(self, samples: NDArray[np.float32]) -> None:
        """Add samples, (n,), at `RATE`."""
        self._samples += len(samples)
        self._waiting = np.concatenate([self._waiting, samples])
        count = max(len(self._waiting) - _FRAME + _HOP, 0) // (_HOP * self._hops)  # of complete columns
        if not count:
            return
        used = count * self._hops * _HOP
        frames = np.lib.stride_tricks.sliding_window_view(self._waiting[: used + _FRAME - _HOP], _FRAME)[::_HOP]
        power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME), _FFT)) ** 2
        middle = self._waiting[self._padding :][:used].reshape(count, -1)
        power = power.reshape(count, self._hops, -1).mean(axis=1, dtype=np.float32)
        self._columns.append((middle.min(axis=1), middle.max(axis=1), power))
        self._waiting = self._waiting[used:].copy()

    def finish(self) -> Overview:
        """Return the overview of all samples, the last column padded with zeros."""
        count = max(-(-self._samples // (_HOP * self._hops)), 1)
        self.add(np.zeros(_FRAME + _HOP * self._hops, np.float32))
        low, high, power = (np.concatenate(parts)[:count] for parts in zip(*self._columns, strict=True))
        return Overview(count * _HOP * self._hops / RATE, low, high, power)
