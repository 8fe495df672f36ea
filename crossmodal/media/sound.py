"""Reading of audio from any file, as mono blocks or as a whole waveform."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ConfigError, MediaError, TooLongError
from crossmodal.media.container import ffmpeg_errors, open_stream, start_of
from crossmodal.media.header import declares_mp3_length
from crossmodal.media.source import Source, name_of, opened

SAMPLE_RATE = 16_000  # Hz, of every waveform in the project
SAMPLE_RATES = (1_000, 768_000)  # Hz, lowest and highest: with a header of 1 Hz, a second of audio would last hours
_MOST_CHANNELS = 64
_CONTAINERS = frozenset({".avi", ".flv", ".m4a", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
_PEAK_LIMIT = 4.0  # decoders overshoot full scale slightly; samples far beyond it have another scale
_DELAY_LIMIT = 60.0  # s between picture and sound; a damaged time stamp must not cause gigabytes of leading silence
_BLOCK = 65_536  # samples; reading in blocks, memory does not depend on the length in the header
_UNKNOWN = 1 << 48  # libsndfile reports an unknown number of samples as a value far above this
_MP3_SLACK = 2304  # samples, two frames; decoders differ in how much they cut off at the ends

Blocks = Iterator[NDArray[np.float32]]


@dataclass(frozen=True)
class Sound:
    """An open sound with the properties from its header."""

    name: str  # for error messages
    sample_rate: int  # Hz
    channels: int
    decode: Callable[[], Blocks]  # starts decoding, see `blocks`
    declared: int = 0  # samples, 0 if unknown; fewer are an error

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
        if samples < self.declared:
            raise MediaError(self.name, f"the file is truncated: it has {samples:,} of {self.declared:,} samples")

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
        file, for_ffmpeg = stack.enter_context(opened(source))
        is_container = isinstance(file, Path) and file.suffix.lower() in _CONTAINERS
        sound = _open_with_pyav(name, file, stack) if is_container else _open_with_either(name, file, for_ffmpeg, stack)
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

    Channels are averaged and resampled with soxr's HQ quality block by block, so that only the result is in memory.
    Sound that starts after the picture has silence in front. Truncation is detected in formats that declare their
    length (wav, flac, mp4, mov). An unfinished header, or bytes that are not read, cause a warning.

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


def _open_with_either(name: str, file: Path | BinaryIO, for_ffmpeg: bool, stack: ExitStack) -> Sound:
    """Open with libsndfile, or with PyAV where libsndfile cannot read the format or all of the file."""
    import soundfile

    try:
        opened_file = stack.enter_context(soundfile.SoundFile(file))
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a .raw file, which has no header
        try:
            return _open_with_pyav(name, file, stack)
        except MediaError:
            reason = getattr(error, "error_string", error)
            raise MediaError(name, f"it is not a sound file, or has an unsupported format ({reason})") from error
    for_ffmpeg |= opened_file.frames >= _UNKNOWN
    declared = 0 if for_ffmpeg else opened_file.frames
    if opened_file.format == "MP3":  # libsndfile guesses a length that is not declared, and stops there
        declared, for_ffmpeg = declared - _MP3_SLACK if declares_mp3_length(file) else 0, True
    if for_ffmpeg:
        sound = _open_with_pyav(name, file, stack)
    else:
        blocks = partial(_sound_file_blocks, name, opened_file)
        sound = Sound(name, opened_file.samplerate, opened_file.channels, blocks)
    return replace(sound, declared=declared)


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


def _open_with_pyav(name: str, file: Path | BinaryIO, stack: ExitStack) -> Sound:
    if not isinstance(file, Path):
        file.seek(0)  # libsndfile has read its beginning
    container, stream = stack.enter_context(open_stream(name, file, "audio"))
    return Sound(name, stream.rate or 0, stream.channels, partial(_container_blocks, name, container, stream))


def _container_blocks(name: str, container: Any, stream: Any) -> Blocks:
    """Yield blocks of the sound of a container, with silence in front if its picture starts earlier."""
    start: float | None = None
    for audio_frame, picture in decode_sound(name, container, stream):
        if start is None:
            time = audio_frame.time or 0.0
            start = min(time, picture)
            if time - start > _DELAY_LIMIT:
                reason = f"its sound starts {time - start:,.0f} s after its picture; the time stamps are damaged"
                raise MediaError(name, reason)
            silence = round((time - start) * audio_frame.sample_rate)
            yield from (np.zeros(min(_BLOCK, silence - done), np.float32) for done in range(0, silence, _BLOCK))
        yield audio_frame.to_ndarray().reshape(-1, audio_frame.layout.nb_channels).mean(axis=1)
    if start is None:
        raise MediaError(name, "it has no sound (zero samples)")


def decode_sound(name: str, container: Any, stream: Any) -> Iterator[tuple[Any, float]]:
    """Yield frames of audio with the time of the earliest keyframe so far, in seconds."""
    import av
    from av.stream import Disposition

    # Interleaved samples: with more than eight planes (one per channel), PyAV 18 reads beyond the frame's memory.
    as_float = av.AudioResampler(format="flt")
    # Players skip what is between the frames of an MP3, and what is incomplete at the start of a broadcast.
    can_skip = container.format.name in ("mp3", "mpeg", "mpegts")
    pictures = [video for video in container.streams.video if not video.disposition & Disposition.attached_pic]
    # The header's start is too late in ASF and NUT, and that of a picture that does not decode in a broadcast.
    earliest = math.inf if can_skip else min(map(start_of, pictures), default=math.inf)
    with ffmpeg_errors(name):
        packets = container.demux(stream, *pictures)
    while True:
        frames = []
        with ffmpeg_errors(name):
            if (packet := next(packets, None)) is None:
                return
            if packet.stream is not stream:
                if packet.is_keyframe and packet.pts is not None:
                    earliest = min(earliest, float(packet.pts * packet.time_base))
                continue
            try:
                frames = [converted for frame in packet.decode() for converted in as_float.resample(frame)]
            except av.InvalidDataError:
                if not can_skip:
                    raise
        can_skip &= not frames or container.format.name == "mp3"
        yield from ((frame, earliest) for frame in frames)
