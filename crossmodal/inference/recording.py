"""What a recognizer can be given: a file, the bytes of one, an open file, or samples."""

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

SHORTEST = 0.1  # s; in less there is no syllable
LONGEST = 120.0  # s, of what one label is asked for; a timeline has no limit
_BLOCK = 65_536  # samples
_MOST_CHANNELS = 64


def read_recording(recording: Recording, sample_rate: int | None, model_rate: int) -> NDArray[np.float32]:
    """Read a recording as the model wants it.

    Args:
        recording: A sound file or a video with sound, as a path, its bytes or an open binary file; or samples.
        sample_rate: Of samples, in Hz; `model_rate` if not given. A file says its own.
        model_rate: Of the result, in Hz.

    Returns:
        (T,) in [-1, 1], of `SHORTEST` to `LONGEST` seconds.

    Raises:
        MediaError: It cannot be decoded, is too short or too long, or its samples are not finite.
        ConfigError: The rate is not that of any sound.
    """
    if is_file(recording):
        waveform = media.read_waveform(recording, model_rate, longest=LONGEST)
    else:
        samples = check_samples(recording)
        waveform = media.resample(samples, check_rate(sample_rate, model_rate), model_rate)
    check_long_enough(len(waveform) / model_rate, name_of(recording))
    if len(waveform) > LONGEST * model_rate:
        raise MediaError(name_of(recording), media.too_long(LONGEST))
    return waveform


@contextmanager
def open_recording(
    recording: Recording, sample_rate: int | None, model_rate: int
) -> Iterator[tuple[int, Iterator[NDArray[np.float32]]]]:
    """Open a recording of any length: its sample rate in Hz, and its samples in blocks of shape (n,).

    Arguments and errors as of `read_recording`, but for its limits of length.
    """
    if is_file(recording):
        with media.open_sound(recording) as sound:
            yield sound.sample_rate, sound.blocks()
    else:
        samples = check_samples(recording)
        starts = range(0, len(samples), _BLOCK)
        yield check_rate(sample_rate, model_rate), (samples[start : start + _BLOCK] for start in starts)


def is_file(recording: Recording) -> TypeGuard[media.Source]:
    """Whether it is to be decoded, and not samples."""
    return isinstance(recording, str | Path | bytes | bytearray | memoryview) or hasattr(recording, "read")


def name_of(recording: Recording) -> str:
    """How an error calls it."""
    return media.name_of(recording) if is_file(recording) else "samples"


def check_samples(samples: Any) -> NDArray[np.float32]:
    """Make one channel of samples.

    Args:
        samples: An array or tensor of shape (T,) or (channels, T): floats in [-1, 1], or integers of full scale.

    Returns:
        (T,), the mean of the channels.

    Raises:
        MediaError: They are of another shape, none, not finite, or far beyond full scale.
    """
    if hasattr(samples, "detach"):  # a tensor, wherever it lies; torch itself is not needed for this
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    array = np.asarray(samples)
    if array.ndim == 2 and array.shape[0] > _MOST_CHANNELS:
        raise MediaError("samples", f"{array.shape} would be {array.shape[0]:,} channels: is it (T, channels)? Give .T")
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
        with np.errstate(over="ignore"):  # beyond float32 is infinity, and refused as that
            return np.ascontiguousarray(array, np.float32)
    scale = np.iinfo(array.dtype)
    middle = (int(scale.max) + int(scale.min) + 1) // 2  # unsigned samples swing about it
    return ((array.astype(np.float64) - middle) / (int(scale.max) - middle + 1)).astype(np.float32)


def check_rate(sample_rate: float | None, model_rate: int) -> int:
    """A rate in Hz that a recording can have; the model's where none is given.

    Raises:
        ConfigError: It is none.
    """
    if sample_rate is None:
        return model_rate
    if isinstance(sample_rate, bool) or not float(sample_rate).is_integer() or not media.is_rate(int(sample_rate)):
        low, high = media.SAMPLE_RATES
        raise ConfigError(f"sample_rate must be a whole number of Hz from {low:,} to {high:,}, not {sample_rate!r}")
    return int(sample_rate)


def check_long_enough(seconds: float, name: str) -> None:
    """Raise MediaError where a recording is too short for any answer."""
    if seconds < SHORTEST:
        raise MediaError(name, f"it lasts {seconds:.3f} s, too short: a voice takes {SHORTEST} s or more")
