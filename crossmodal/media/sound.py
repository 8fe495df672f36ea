"""Reading of audio from any file, as mono blocks or as a whole waveform."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ConfigError, MediaError, TooLongError
from crossmodal.media.container import ffmpeg_errors, open_stream
from crossmodal.media.source import Source, name_of, opened

SAMPLE_RATE = 16_000  # Hz, of every waveform in the project
SAMPLE_RATES = (1_000, 768_000)  # Hz, lowest and highest: with a header of 1 Hz, a second of audio would last hours
_MOST_CHANNELS = 64
_CONTAINERS = frozenset({".avi", ".flv", ".m4a", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
_PEAK_LIMIT = 4.0  # decoders overshoot full scale slightly; samples far beyond it have another scale
_DELAY_LIMIT = 60.0  # s; a damaged time stamp must not cause gigabytes of leading silence
_BLOCK = 65_536  # samples; reading in blocks, memory does not depend on the length in the header
_UNKNOWN = 1 << 48  # libsndfile reports an unknown number of samples as a value far above this

Blocks = Iterator[NDArray[np.float32]]


@dataclass(frozen=True)
class Sound:
    """An open sound with the properties from its header."""

    name: str  # for error messages
    sample_rate: int  # Hz
    channels: int
    decode: Callable[[], Blocks]  # starts decoding, see `blocks`

    def blocks(self, start: float = 0.0, longest: float | None = None) -> Blocks:
        """Decode block by block, from `start` seconds on; can be called once.

        Yields the mean over channels, (n,), with n up to some ten thousand, not clipped. Decoding stops with
        TooLongError `longest` seconds after `start`. MediaError is raised as in `read_waveform`.
        """
        samples, to_skip = 0, round(start * self.sample_rate)
        for block in self.decode():
            check_level(block, self.name)
            samples += len(block)
            if longest is not None:
                check_duration(samples / self.sample_rate - start, longest, self.name)
            yield block[max(len(block) - max(samples - to_skip, 0), 0) :]

    def read(self, sample_rate: int, start: float = 0.0, longest: float | None = None) -> NDArray[np.float32]:
        """Decode the whole sound, resampled: (T,) in [-1, 1]; see `blocks`."""
        blocks = self.blocks(start, longest)
        waveform = np.concatenate([*resample_blocks(blocks, self.sample_rate, sample_rate)])
        if not waveform.size:
            raise MediaError(
                self.name, f"it has no sound after {start} s" if start else "it has no sound (zero samples)"
            )
        return np.clip(waveform, -1.0, 1.0, out=waveform)


@contextmanager
def open_sound(source: Source) -> Iterator[Sound]:
    """Open the sound of a path, of bytes or of an open binary file without decoding it.

    An open file is read from its beginning and stays open; a pipe is copied to a temporary file. MediaError is raised
    if the file is missing, empty, truncated or not audio, or has an invalid sample rate or number of channels.
    """
    name = name_of(source)
    with ExitStack() as stack:
        file = stack.enter_context(opened(source))
        is_container = isinstance(file, Path) and file.suffix.lower() in _CONTAINERS
        sound = (_open_with_pyav if is_container else _open_with_either)(name, file, stack)
        if not is_rate(sound.sample_rate):
            lowest, highest = SAMPLE_RATES
            raise MediaError(name, f"its sample rate is {sound.sample_rate:,} Hz, not {lowest:,} to {highest:,} Hz")
        if not 1 <= sound.channels <= _MOST_CHANNELS:
            raise MediaError(name, f"it has {sound.channels:,} channels, not 1 to {_MOST_CHANNELS}")
        yield sound


def read_waveform(
    source: Source, sample_rate: int = SAMPLE_RATE, *, start: float = 0.0, longest: float | None = None
) -> np.ndarray:
    """Read the sound of a file as a mono waveform, (T,) float32 in [-1, 1], from `start` seconds on.

    Channels are averaged and resampled with soxr's HQ quality block by block, so that only the result is in memory. The
    sound of a video is aligned to the video's clock: a late start is padded with silence. Truncation is detected in
    formats that declare their length (wav, flac, mp4, mov).

    Raises:
        MediaError: If the file is missing, empty, truncated or not audio, or its samples are not finite or far above 1.
        TooLongError: If the sound is longer than `longest` seconds; decoding stops there.
    """
    if start < 0:
        raise ConfigError(f"start must be 0 or more seconds, not {start}")
    with open_sound(source) as sound:
        return sound.read(sample_rate, start, longest)


def resampler(native_rate: int, sample_rate: int) -> Callable[..., NDArray[np.float32]]:
    """Return a function that resamples a sound in chunks, (n,), with soxr's HQ quality. Rates are in Hz.

    It takes ``last=True`` with the last chunk. Concatenated, its results equal `resample` of the whole bit for bit.
    """
    import soxr

    if native_rate == sample_rate:
        return lambda chunk, last=False: chunk
    stream = soxr.ResampleStream(native_rate, sample_rate, 1, dtype="float32", quality="HQ")
    return stream.resample_chunk


def resample_blocks(blocks: Blocks, native_rate: int, sample_rate: int) -> Blocks:
    """Resample the blocks of a sound; see `resampler`."""
    resample_chunk = resampler(native_rate, sample_rate)
    for block in blocks:
        yield resample_chunk(block)
    yield resample_chunk(np.zeros(0, np.float32), last=True)


def resample(waveform: NDArray[np.float32], native_rate: int, sample_rate: int) -> NDArray[np.float32]:
    """Resample a waveform, (T,), with soxr's HQ quality, and clip it to [-1, 1]. Rates are in Hz."""
    import soxr

    if native_rate != sample_rate:
        waveform = soxr.resample(waveform, native_rate, sample_rate, quality="HQ")
    return np.clip(waveform, -1.0, 1.0)


def is_rate(sample_rate: int) -> bool:
    """Return True if a sample rate in Hz is supported."""
    return SAMPLE_RATES[0] <= sample_rate <= SAMPLE_RATES[1]


def check_duration(seconds: float, longest: float, name: str) -> None:
    """Raise TooLongError if a recording is longer than `longest` seconds."""
    if seconds > longest:
        raise TooLongError(name, f"it lasts more than {longest:g} s; predict a timeline instead, or split it")


def check_level(samples: NDArray[np.float32], name: str) -> None:
    """Raise MediaError if samples are not finite or far beyond full scale, which is 1."""
    peak = np.abs(samples).max(initial=0.0)
    if not np.isfinite(peak):
        raise MediaError(name, "it has samples that are not finite (NaN or infinity)")
    if peak > _PEAK_LIMIT:
        raise MediaError(name, f"its samples reach {peak:,.0f}, but full scale is 1; was it saved without scaling?")


def _open_with_either(name: str, file: Path | BinaryIO, stack: ExitStack) -> Sound:
    """Open with libsndfile, or with PyAV if libsndfile does not support the format."""
    import soundfile

    try:
        opened_file = stack.enter_context(soundfile.SoundFile(file))
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a .raw file, which has no header
        try:
            return _open_with_pyav(name, file, stack)
        except MediaError:
            reason = getattr(error, "error_string", error)
            raise MediaError(name, f"it is not a sound file, or has an unsupported format ({reason})") from error
    blocks = partial(_sound_file_blocks, name, opened_file)
    return Sound(name, opened_file.samplerate, opened_file.channels, blocks)


def _sound_file_blocks(name: str, file: Any) -> Blocks:
    import soundfile

    samples = 0
    try:
        while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
            samples += len(block)
            with np.errstate(invalid="ignore"):  # infinities of both signs; `check_level` reports them
                mean = block.mean(axis=1)
            yield mean
    except soundfile.SoundFileError as error:
        raise MediaError(name, f"it is damaged after {samples / file.samplerate:.2f} s ({error})") from error
    if samples < file.frames < _UNKNOWN:
        raise MediaError(name, f"the file is truncated: it has {samples:,} of {file.frames:,} samples")


def _open_with_pyav(name: str, file: Path | BinaryIO, stack: ExitStack) -> Sound:
    if not isinstance(file, Path):
        file.seek(0)  # libsndfile has read its beginning
    container, stream = stack.enter_context(open_stream(name, file, "audio"))
    return Sound(name, stream.rate or 0, stream.channels, partial(_container_blocks, name, container, stream))


def _container_blocks(name: str, container: Any, stream: Any) -> Blocks:
    """Yield blocks of the sound of a container, with sample 0 at time 0."""
    to_skip: int | None = None
    for audio_frame in _decode(name, container, stream):
        block = audio_frame.to_ndarray().reshape(-1, audio_frame.layout.nb_channels).mean(axis=1)
        if to_skip is None:
            delay = audio_frame.time or 0.0
            if abs(delay) > _DELAY_LIMIT:
                reason = f"its sound starts at {delay:,.0f} s; the time stamps are damaged or from a broadcast"
                raise MediaError(name, reason)
            offset = round(delay * audio_frame.sample_rate)
            to_skip = max(-offset, 0)
            yield from (np.zeros(min(_BLOCK, offset - done), np.float32) for done in range(0, offset, _BLOCK))
        if len(block) > to_skip:
            yield block[to_skip:]
        to_skip = max(to_skip - len(block), 0)
    if to_skip is None:
        raise MediaError(name, "it has no sound (zero samples)")


def _decode(name: str, container: Any, stream: Any) -> Iterator[Any]:
    import av

    # Interleaved samples: with more than eight planes (one per channel), PyAV 18 reads beyond the frame's memory.
    as_float = av.AudioResampler(format="flt")
    with ffmpeg_errors(name):
        decoded = container.decode(stream)
    while True:
        with ffmpeg_errors(name):
            audio_frame = next(decoded, None)
            converted = [] if audio_frame is None else as_float.resample(audio_frame)
        yield from converted
        if audio_frame is None:
            return
