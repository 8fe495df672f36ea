"""Waveform envelope and spectrogram of a recording of any length, in a few thousand columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.inference.recording import Recording, open_recording

RATE = 16_000  # Hz; frequencies up to half of it are shown
_FRAME, _HOP = 400, 64  # samples: 25 ms every 4 ms
_FFT = 512
MOST_COLUMNS = 4000  # even


@dataclass(frozen=True)
class Overview:
    """Envelope and spectrogram of a recording.

    Args:
        duration: Seconds that the columns cover: those of the recording and the padding of the last column.
        low: (n,) smallest sample of each of n columns of equal duration.
        high: (n,) largest sample of each column.
        power: (n, F) mean power at F frequencies from 0 Hz to half of `RATE`.
    """

    duration: float
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    power: NDArray[np.float32]

    @property
    def times(self) -> NDArray[np.float64]:
        """(n,) centres of the columns in seconds."""
        return (np.arange(len(self.low)) + 0.5) * self.duration / len(self.low)


def look_over(recording: Recording, sample_rate: int | None = None) -> Overview:
    """Compute the overview of a recording block by block, in constant memory.

    Args:
        recording: As in `EmotionRecognizer.timeline`.
        sample_rate: Sample rate of samples in Hz.

    Raises:
        MediaError: If the recording cannot be decoded.
    """
    columns = _Columns()
    with open_recording(recording, sample_rate, RATE) as (rate, blocks):
        for block in media.resample_blocks(blocks, rate, RATE):
            columns.add(block)
    return columns.finish()


class _Columns:
    """Columns of at least 4 ms. When there are too many, neighbours are merged in pairs."""

    def __init__(self) -> None:
        self._samples = 0
        self._held = np.zeros((_FRAME - _HOP) // 2, np.float32)  # centres the first frame on the first hop
        self._step = 1  # hops per column
        self._waiting = [np.zeros((0, width), np.float32) for width in (1, 1, _FFT // 2 + 1)]  # incomplete column
        self._columns = [np.zeros((MOST_COLUMNS, part.shape[1]), np.float32) for part in self._waiting]
        self._count = 0

    def add(self, samples: NDArray[np.float32]) -> None:
        """Add samples, (n,), at `RATE`."""
        self._samples += len(samples)
        self._held = np.concatenate([self._held, samples])
        if len(self._held) < _FRAME:
            return
        frames = np.lib.stride_tricks.sliding_window_view(self._held, _FRAME)[::_HOP]
        middle = frames[:, (_FRAME - _HOP) // 2 :][:, :_HOP]
        power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME), _FFT)) ** 2
        hops = (middle.min(axis=1, keepdims=True), middle.max(axis=1, keepdims=True), power.astype(np.float32))
        self._held = self._held[len(frames) * _HOP :].copy()
        self._waiting = [np.concatenate(pair) for pair in zip(self._waiting, hops, strict=True)]
        self._fill()

    def _fill(self) -> None:
        while whole := min(len(self._waiting[0]) // self._step, MOST_COLUMNS - self._count):
            taken = [part[: whole * self._step] for part in self._waiting]
            for column, part in zip(self._columns, _merge(taken, self._step), strict=True):
                column[self._count : self._count + whole] = part
            self._waiting = [part[whole * self._step :] for part in self._waiting]
            self._count += whole
            if self._count == MOST_COLUMNS:
                for column, part in zip(self._columns, _merge(self._columns, 2), strict=True):
                    column[: MOST_COLUMNS // 2] = part
                self._count //= 2
                self._step *= 2

    def finish(self) -> Overview:
        """Return the overview of all samples."""
        samples = self._samples
        # Pad the last column, enough even if the step doubles now.
        self.add(np.zeros(_FRAME + 2 * _HOP * self._step, np.float32))
        count = max(-(-samples // (_HOP * self._step)), 1)
        low, high, power = (column[:count] for column in self._columns)
        return Overview(count * _HOP * self._step / RATE, low[:, 0], high[:, 0], power)


def _merge(parts: list[NDArray[np.float32]], size: int) -> list[NDArray[np.float32]]:
    """Merge each `size` rows of the minima, the maxima and the mean powers into one."""
    low, high, power = (part.reshape(-1, size, part.shape[1]) for part in parts)
    return [low.min(axis=1), high.max(axis=1), power.mean(axis=1)]
