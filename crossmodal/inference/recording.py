"""Inputs of a recognizer: a path, the bytes of a file, an open file, or samples."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeGuard, Union

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.errors import ConfigError, MediaError

if TYPE_CHECKING:
    from torch import Tensor

Recording: TypeAlias = Union[str, Path, bytes, BinaryIO, NDArray[Any], "Tensor"]

SHORTEST = 0.1  # s; less than a syllable
LONGEST = 120.0  # s, for one label; a timeline has no limit
_BLOCK = 65_536  # samples
_MAX_CHANNELS = 64


def read_recording(recording: Recording, sample_rate: int | None, model_rate: int) -> NDArray[np.float32]:
    """Read `SHORTEST` to `LONGEST` seconds as one channel, (T,) in [-1, 1], at the sample rate of the model.

    Arguments and errors are those of `EmotionRecognizer.__call__`.
    """
    if is_file(recording):
        waveform = media.read_waveform(recording, model_rate, longest=LONGEST)
    else:
        samples = check_samples(recording)
        waveform = media.resample(samples, check_rate(sample_rate, model_rate), model_rate)
    check_long_enough(len(waveform) / model_rate, name_of(recording))
    media.check_duration(len(waveform) / model_rate, LONGEST, name_of(recording))
    return waveform


@contextmanager
def open_recording(
    recording: Recording, sample_rate: int | None, model_rate: int
) -> Iterator[tuple[int, Iterator[NDArray[np.float32]]]]:
    """Open a recording of any length; yield its sample rate and blocks (n,). Arguments as for `read_recording`."""
    if is_file(recording):
        with media.open_sound(recording) as sound:
            yield sound.sample_rate, sound.blocks()
    else:
        samples = check_samples(recording)
        starts = range(0, len(samples), _BLOCK)
        yield check_rate(sample_rate, model_rate), (samples[start : start + _BLOCK] for start in starts)


def is_file(recording: Recording) -> TypeGuard[media.Source]:
    """Return True if the recording is a file to decode, and not samples."""
    return isinstance(recording, str | Path | bytes | bytearray | memoryview) or hasattr(recording, "read")


def name_of(recording: Recording) -> str:
    """Return the name of a recording in errors."""
    return media.name_of(recording) if is_file(recording) else "samples"


def check_samples(samples: Any) -> NDArray[np.float32]:
    """Return the mean of the channels, (T,), of samples as in `EmotionRecognizer.__call__`, or raise MediaError."""
    if hasattr(samples, "detach"):  # a tensor on any device; torch need not be imported
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    array = np.asarray(samples)
    if array.ndim == 2 and array.shape[0] > _MAX_CHANNELS:
        raise MediaError(
            "samples", f"shape {array.shape} means {array.shape[0]:,} channels: if it is (T, channels), pass samples.T"
        )
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
        raise MediaError(
            "samples",
            f"expected finite samples of shape (T,) or (channels, T), T at least 1, not {array.dtype} {array.shape}",
        )
    channels = np.atleast_2d(_as_float(array))
    mono = channels.mean(axis=0, dtype=np.float32) if len(channels) > 1 else channels[0]
    media.check_level(mono, "samples")
    return mono


def _as_float(array: NDArray[Any]) -> NDArray[np.float32]:
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # values beyond float32 become infinity and are rejected
            return np.ascontiguousarray(array, np.float32)
    lowest, highest = int(np.iinfo(array.dtype).min), int(np.iinfo(array.dtype).max)
    middle = (highest + lowest + 1) // 2  # zero level of unsigned samples
    return ((array.astype(np.float64) - middle) / (highest - middle + 1)).astype(np.float32)


def check_rate(sample_rate: float | None, model_rate: int) -> int:
    """Return a valid sample rate in Hz, by default that of the model, or raise ConfigError."""
    if sample_rate is None:
        return model_rate
    if isinstance(sample_rate, bool) or not float(sample_rate).is_integer() or not media.is_rate(int(sample_rate)):
        low, high = media.SAMPLE_RATES
        raise ConfigError(f"sample_rate must be a whole number of Hz from {low:,} to {high:,}, not {sample_rate!r}")
    return int(sample_rate)


def check_long_enough(seconds: float, name: str) -> None:
    """Raise MediaError if a recording is too short for a prediction."""
    if seconds < SHORTEST:
        raise MediaError(name, f"it lasts {seconds:.3f} s, too short: a voice takes {SHORTEST} s or more")
