"""Predictions for live audio in chunks of any size."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.errors import ConfigError
from crossmodal.inference.prediction import Prediction, Window
from crossmodal.inference.recording import LONGEST, SHORTEST, check_long_enough, check_samples

Predict = Callable[[list[NDArray[np.float32]]], list[Prediction]]


class EmotionStream:
    """Stream of windows from live audio; see `EmotionRecognizer.stream`.

    Windows of equal length start at a fixed hop, the first at 0. They do not depend on the sizes of the chunks. Memory
    holds one or two windows of audio, regardless of the duration.

    Chunks have the `sample_rate` in Hz, and `predict` gets waveforms at the `model_rate`. Window and hop are those of
    `EmotionRecognizer.timeline`.

    Raises:
        ConfigError: If the window or hop is invalid.
    """

    def __init__(self, predict: Predict, model_rate: int, sample_rate: int, window: float, hop: float) -> None:
        if not SHORTEST <= window <= LONGEST:
            raise ConfigError(f"window must be {SHORTEST} to {LONGEST:g} seconds, not {window}")
        if not 1 / model_rate <= hop <= window:
            raise ConfigError(f"hop must be above 0 and at most the window's {window} seconds, not {hop}")
        self.sample_rate = sample_rate
        self._predict_batch, self._rate = predict, model_rate
        self._window, self._hop = round(window * model_rate), round(hop * model_rate)
        self._resample = media.resampler(sample_rate, model_rate)
        self._held = np.zeros(0, np.float32)  # samples from the start of the last complete window
        self._held_from = 0  # index of its first sample in the recording
        self._next = 0  # start of the next window
        self._closed = False

    @property
    def duration(self) -> float:
        """Seconds of audio after resampling. The resampler holds back about 20 ms until `finish`."""
        return (self._held_from + len(self._held)) / self._rate

    def feed(self, samples: NDArray[Any]) -> list[Window]:
        """Add a chunk: (n,) or (channels, n), any n, floats in [-1, 1] or integers of 8 or 16 bits.

        Returns:
            The windows that the chunk completes, zero or more.

        Raises:
            MediaError: If the samples have another type or shape, are not finite, or far beyond full scale.
            ConfigError: If the stream is closed.
        """
        if self._closed:
            raise ConfigError("This stream is closed: open a new one with EmotionRecognizer.stream().")
        if np.shape(samples)[-1:] == (0,):
            return []
        self._take(check_samples(samples, is_chunk=True), last=False)
        return self._complete_windows()

    def finish(self) -> list[Window]:
        """Close the stream.

        Returns:
            The remaining windows. If the last window on the grid ends before the recording, one more window of full
            length ends with it. A recording shorter than a window is one window.

        Raises:
            MediaError: If the stream is shorter than 0.1 s.
            ConfigError: If the stream is already closed.
        """
        if self._closed:
            raise ConfigError("This stream is already closed.")
        self._closed = True
        self._take(np.zeros(0, np.float32), last=True)
        windows = self._complete_windows()
        check_long_enough(self.duration, "stream")
        end = self._held_from + len(self._held)
        covered = self._next - self._hop + self._window if self._next else 0
        if covered < end:
            windows += self._predict([max(end - self._window, 0)], end)
        return windows

    def _take(self, samples: NDArray[np.float32], last: bool) -> None:
        self._held = np.concatenate([self._held, np.clip(self._resample(samples, last=last), -1.0, 1.0)])

    def _complete_windows(self) -> list[Window]:
        end = self._held_from + len(self._held)
        starts = range(self._next, end - self._window + 1, self._hop)
        if not starts:
            return []
        windows = self._predict(starts, end)
        self._next = starts[-1] + self._hop
        self._held = self._held[starts[-1] - self._held_from :].copy()  # the last window may start before `_next`
        self._held_from = starts[-1]
        return windows

    def _predict(self, starts: "range | list[int]", end: int) -> list[Window]:
        spans = [(start, min(start + self._window, end)) for start in starts]
        predictions = self._predict_batch(
            [self._held[start - self._held_from : stop - self._held_from] for start, stop in spans]
        )
        return [
            Window(start / self._rate, stop / self._rate, prediction)
            for (start, stop), prediction in zip(spans, predictions, strict=True)
        ]
