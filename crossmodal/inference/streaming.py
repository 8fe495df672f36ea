"""Listening while the sound comes in, in chunks of any size."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ConfigError
from crossmodal.inference.prediction import Prediction, Window
from crossmodal.inference.recording import LONGEST, SHORTEST, check_long_enough, check_samples

Hear = Callable[[list[NDArray[np.float32]]], list[Prediction]]


class EmotionStream:
    """A recording that is still going on; made by `EmotionRecognizer.stream`.

    Windows of equal length follow each other at a fixed hop, the first at 0. They depend on the sound alone, and not on
    how it was cut into chunks. What is kept is a window or two of sound, however long it lasts.

    Args:
        hear: Says what is heard in waveforms at the model's rate.
        model_rate: In Hz.
        sample_rate: Of the chunks, in Hz.
        window: Seconds of each window, 0.1 to 120.
        hop: Seconds from one window to the next, above 0 and not more than `window`.

    Raises:
        ConfigError: A window or hop that cannot be.
    """

    def __init__(self, hear: Hear, model_rate: int, sample_rate: int, window: float, hop: float) -> None:
        import soxr

        if not SHORTEST <= window <= LONGEST:
            raise ConfigError(f"window must be {SHORTEST} to {LONGEST:g} seconds, not {window}")
        if not 1 / model_rate <= hop <= window:
            raise ConfigError(f"hop must be above 0 and at most the window's {window} seconds, not {hop}")
        self.sample_rate = sample_rate
        self._hear, self._rate = hear, model_rate
        self._window, self._hop = round(window * model_rate), round(hop * model_rate)
        self._resampler = (
            soxr.ResampleStream(sample_rate, model_rate, 1, dtype="float32", quality="HQ")
            if sample_rate != model_rate
            else None
        )
        self._held = np.zeros(0, np.float32)  # from the last complete window's start on
        self._held_from = 0  # its first sample's place in the recording
        self._next = 0  # where the next window starts
        self._closed = False

    @property
    def duration(self) -> float:
        """Seconds that came in so far and left the resampler, which holds back some 20 ms until `finish`."""
        return (self._held_from + len(self._held)) / self._rate

    def feed(self, samples: NDArray[Any]) -> list[Window]:
        """Take in a chunk.

        Args:
            samples: Of shape (n,) or (channels, n), any n: floats in [-1, 1], or integers of full scale.

        Returns:
            The windows that it completes, none or more.

        Raises:
            MediaError: The samples are of another shape, not finite, or far beyond full scale.
            ConfigError: The stream is closed.
        """
        if self._closed:
            raise ConfigError("This stream is finished: open another one with EmotionRecognizer.stream().")
        if not np.shape(samples)[-1:] or not np.shape(samples)[-1]:
            return []
        self._take(check_samples(samples), last=False)
        return self._complete_windows()

    def finish(self) -> list[Window]:
        """Close the stream.

        Returns:
            What is left. Where the windows do not end with the recording, one more does, as long as the others; it
            starts off the grid. A recording shorter than a window is one window.

        Raises:
            MediaError: In all there was less than 0.1 s.
            ConfigError: The stream is closed.
        """
        if self._closed:
            raise ConfigError("This stream is finished already.")
        self._closed = True
        self._take(np.zeros(0, np.float32), last=True)
        windows = self._complete_windows()
        check_long_enough(self.duration, "stream")
        end = self._held_from + len(self._held)
        ended = self._next - self._hop + self._window if self._next else 0
        if ended < end:
            windows += self._predict([max(end - self._window, 0)], end)
        return windows

    def _take(self, samples: NDArray[np.float32], last: bool) -> None:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        self._held = np.concatenate([self._held, np.clip(samples, -1.0, 1.0)])

    def _complete_windows(self) -> list[Window]:
        end = self._held_from + len(self._held)
        starts = range(self._next, end - self._window + 1, self._hop)
        if not starts:
            return []
        windows = self._predict(starts, end)
        self._next = starts[-1] + self._hop
        self._held = self._held[starts[-1] - self._held_from :].copy()  # the last one may have to start before `_next`
        self._held_from = starts[-1]
        return windows

    def _predict(self, starts: "range | list[int]", end: int) -> list[Window]:
        spans = [(start, min(start + self._window, end)) for start in starts]
        heard = self._hear([self._held[start - self._held_from : stop - self._held_from] for start, stop in spans])
        return [
            Window(start / self._rate, stop / self._rate, prediction)
            for (start, stop), prediction in zip(spans, heard, strict=True)
        ]
