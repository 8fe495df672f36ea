"""Inputs of a recognizer: a path, the bytes of a file, an open file, or samples; and the detection of silence."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeGuard, Union

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.errors import ConfigError, MediaError

if TYPE_CHECKING:
    from torch import Tensor

Recording: TypeAlias = Union[str, Path, bytes, BinaryIO, NDArray[Any], "Tensor", Mapping[str, Any]]

SHORTEST = 0.1  # s; less than a syllable
LONGEST = 120.0  # s, for one label; a timeline has no limit
_BLOCK = 65_536  # samples
_MAX_CHANNELS = 64
_NARROW = 2**23  # int32 samples below it are those of 16 or 24 bits in a wider array
SILENCE_DB = -60.0  # dB of full scale; the quietest of 960 RAVDESS clips has -54.7, 16-bit rounding noise -101
_FRAME = 0.025  # s


def read_recording(recording: Recording, sample_rate: int | None, model_rate: int) -> NDArray[np.float32]:
    """Read `SHORTEST` to `LONGEST` seconds as one channel, (T,) in [-1, 1], at the sample rate of the model.

    Arguments and errors are those of `EmotionRecognizer.__call__`.
    """
    if is_file(recording):
        waveform = media.read_waveform(recording, model_rate, longest=LONGEST)
    else:
        samples, rate = _samples_and_rate(recording, sample_rate, model_rate)
        waveform = media.resample(samples, rate, model_rate)
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
        samples, rate = _samples_and_rate(recording, sample_rate, model_rate)
        yield rate, (samples[start : start + _BLOCK] for start in range(0, len(samples), _BLOCK))


def is_file(recording: Recording) -> TypeGuard[media.Source]:
    """Return True if the recording is a file to decode, and not samples."""
    return isinstance(recording, str | Path | bytes | bytearray | memoryview) or hasattr(recording, "read")


def name_of(recording: Recording) -> str:
    """Return the name of a recording in errors."""
    return media.name_of(recording) if is_file(recording) else "samples"


def _samples_and_rate(recording: Any, sample_rate: int | None, model_rate: int) -> tuple[NDArray[np.float32], int]:
    # Audio of Hugging Face's datasets is a dict, or since their version 4 a decoder with the same keys.
    if isinstance(recording, Mapping) or hasattr(recording, "get_all_samples"):
        try:
            recording, sample_rate = recording["array"], recording["sampling_rate"]
        except KeyError as error:
            raise MediaError("samples", f"a dict needs the keys array and sampling_rate, but has no {error}") from None
        if sample_rate is None:
            raise ConfigError("sampling_rate of the audio is None: set it to the sample rate of its array in Hz.")
    return check_samples(recording), check_rate(sample_rate, model_rate)


def check_samples(samples: Any, *, is_chunk: bool = False) -> NDArray[np.float32]:
    """Return the mean of the channels, (T,), of samples as in `EmotionRecognizer.__call__`, or raise MediaError.

    A chunk of a stream cannot be int32, because a quiet chunk does not show which range the others use.
    """
    is_list = isinstance(samples, list | tuple)
    if hasattr(samples, "detach"):  # a tensor on any device; torch need not be imported
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    array = np.asarray(samples)
    if array.ndim == 2 and array.shape[0] > _MAX_CHANNELS:
        raise MediaError(
            "samples", f"shape {array.shape} means {array.shape[0]:,} channels: if it is (T, channels), pass samples.T"
        )
    _check_integers(array, is_list, is_chunk)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or not array.size:
        raise MediaError(
            "samples",
            f"expected finite samples of shape (T,) or (channels, T), T at least 1, not {array.dtype} {array.shape}",
        )
    channels = np.atleast_2d(_as_float(array))
    mono = channels.mean(axis=0, dtype=np.float32) if len(channels) > 1 else channels[0]
    media.check_level(mono, "samples")
    return mono


def _check_integers(array: NDArray[Any], is_list: bool, is_chunk: bool) -> None:
    """Raise MediaError for integers of unknown full scale, which would be read as silence or far too quiet."""
    if array.dtype.kind not in "iu" or (array.dtype.itemsize <= 2 and not is_list):
        return
    hint = "divide them by their full scale, such as samples / 32768 for 16 bits, or keep an array of int16"
    if is_list or array.dtype != np.int32:
        what = "a list of integers" if is_list else f"{array.dtype} samples"
        raise MediaError("samples", f"the full scale of {what} is unknown: {hint}")
    if is_chunk:
        raise MediaError("samples", f"the full scale of int32 is unknown from a chunk: {hint}")
    peak = max(int(array.max(initial=0)), -int(array.min(initial=0)))
    if 0 < peak < _NARROW:
        reason = f"int32 samples of at most {peak:,} do not use the range of 32 bits, so their full scale is unknown"
        raise MediaError("samples", f"{reason}: {hint}")


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
