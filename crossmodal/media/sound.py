"""Sound: blocks of one channel out of any file, and whole waveforms."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ConfigError, MediaError
from crossmodal.media.container import ffmpeg_errors, open_stream
from crossmodal.media.source import Source, name_of, opened

SAMPLE_RATE = 16_000  # Hz, of every waveform in the project
SAMPLE_RATES = (1_000, 768_000)  # Hz, the lowest and the highest: from a header of 1 Hz a second becomes hours
_MOST_CHANNELS = 64
_CONTAINERS = frozenset({".avi", ".flv", ".m4a", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
_PEAK_LIMIT = 4.0  # decoders overshoot full scale by a little; far beyond it the samples are on another scale
_DELAY_LIMIT = 60.0  # s, of a sound that starts late; a broken time stamp must not ask for gigabytes of silence
_BLOCK = 65_536  # samples
_UNKNOWN = 1 << 48  # libsndfile's count of samples where there is none is far above this

Blocks = Iterator[NDArray[np.float32]]


@dataclass(frozen=True)
class Sound:
    """A sound that is open: what its header says, and its samples.

    Args:
        name: How an error calls it.
        sample_rate: In Hz.
        channels: How many there are.
        duration: Seconds that its header promises; None where it does not say. Only the blocks tell the truth.
        decode: Starts to decode; see `blocks`.
    """

    name: str
    sample_rate: int
    channels: int
    duration: float | None
    decode: Callable[[], Blocks]

    def blocks(self) -> Blocks:
        """Decode, once, block by block.

        Yields:
            The mean of the channels, (n,), n up to some ten thousand. Not clipped.

        Raises:
            MediaError: It is cut or damaged, or its samples are not finite or far over 1.
        """
        for block in self.decode():
            check_level(block, self.name)
            yield block


@contextmanager
def open_sound(source: Source) -> Iterator[Sound]:
    """Open a sound without decoding it.

    Args:
        source: A sound file or a video with sound, as a path, its bytes or an open binary file. A file is read from its
            beginning and left open; a pipe is copied to a temporary file.

    Raises:
        MediaError: It is missing, empty, cut, not a sound, or of a rate or a number of channels that no sound has.
    """
    name = name_of(source)
    with ExitStack() as stack:
        file = stack.enter_context(opened(source))
        sound = _open_with_pyav if isinstance(file, Path) and file.suffix.lower() in _CONTAINERS else _open_with_either
        found = sound(name, file, stack)
        if not is_rate(found.sample_rate):
            raise MediaError(name, f"its sample rate is {found.sample_rate:,} Hz, which is that of no voice")
        if not 1 <= found.channels <= _MOST_CHANNELS:
            raise MediaError(name, f"it has {found.channels:,} channels, and at most {_MOST_CHANNELS} are read")
        yield found


def read_waveform(
    source: Source, sample_rate: int = SAMPLE_RATE, *, start: float = 0.0, longest: float | None = None
) -> np.ndarray:
    """Read the sound of a file as one channel.

    Channels are averaged, and resampled at soxr's HQ quality, block by block: memory is that of the result. The sound
    of a video is put on the video's clock: what starts late is preceded by silence. A cut is noticed in formats that
    declare their length (wav, flac, mp4, mov).

    Args:
        source: A sound file (wav, flac, ogg, mp3, ...) or a video with sound (mp4, mov, mkv, webm, ...), as a path, its
            bytes or an open binary file.
        sample_rate: Of the result, in Hz.
        start: Seconds to leave out at the beginning.
        longest: Seconds after which it is too long, and no more is decoded.

    Returns:
        `(T,)` float32 in [-1, 1].

    Raises:
        MediaError: The file is missing, empty, cut or not a sound, or its samples are none, not finite or far over 1;
            or it is longer than `longest`.
        ConfigError: `start` is negative.
    """
    if start < 0:
        raise ConfigError(f"start must be 0 or more seconds, not {start}")
    with open_sound(source) as sound:
        waveform = np.concatenate([*_resampled(sound, sample_rate, start, longest), np.zeros(0, np.float32)])
    if not waveform.size:
        why = f"it holds no sound after {start} s" if start else "it holds no sound (zero samples)"
        raise MediaError(sound.name, why)
    return np.clip(waveform, -1.0, 1.0, out=waveform)


def _resampled(sound: Sound, sample_rate: int, start: float, longest: float | None) -> Blocks:
    """Blocks from `start` on at another rate; together they are what `resample` makes of the whole, to the bit."""
    import soxr

    rate, samples = sound.sample_rate, 0
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    to_skip = round(start * rate)
    for block in sound.blocks():
        samples += len(block)
        if longest is not None and samples > (start + longest) * rate:
            raise MediaError(sound.name, too_long(longest))
        wanted = block[max(len(block) - max(samples - to_skip, 0), 0) :]
        yield wanted if rate == sample_rate else resampler.resample_chunk(wanted)
    if rate != sample_rate:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def resample(waveform: NDArray[np.float32], native_rate: int, sample_rate: int) -> NDArray[np.float32]:
    """Bring a waveform, (T,), from one rate in Hz to another at soxr's HQ quality; what overshoots is clipped to 1."""
    import soxr

    if native_rate != sample_rate:
        waveform = soxr.resample(waveform, native_rate, sample_rate, quality="HQ")
    return np.clip(waveform, -1.0, 1.0)


def is_rate(sample_rate: int) -> bool:
    """Whether a recording can have this rate in Hz."""
    return SAMPLE_RATES[0] <= sample_rate <= SAMPLE_RATES[1]


def too_long(longest: float) -> str:
    """What is wrong with a recording that is longer than can be heard at once."""
    return f"it lasts more than {longest:g} s; ask for its timeline, or take it in pieces"


def check_level(samples: NDArray[np.float32], name: str) -> None:
    """Raise MediaError if samples are not finite, or far beyond full scale, which is 1."""
    peak = np.abs(samples).max(initial=0.0)
    if not np.isfinite(peak):
        raise MediaError(name, "it holds samples that are not finite numbers (NaN or infinity)")
    if peak > _PEAK_LIMIT:
        raise MediaError(name, f"its samples reach {peak:,.0f} where full scale is 1; was it saved without scaling?")


def _open_with_either(name: str, file: Path | BinaryIO, stack: ExitStack) -> Sound:
    """Through libsndfile, or PyAV where that does not know the format."""
    import soundfile

    try:
        opened_file = stack.enter_context(soundfile.SoundFile(file))
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a .raw file, which has no header
        try:
            return _open_with_pyav(name, file, stack)
        except MediaError:
            why = getattr(error, "error_string", error)
            raise MediaError(name, f"it is not a sound file that can be read ({why})") from error
    declared = opened_file.frames
    duration = declared / opened_file.samplerate if 0 < declared < _UNKNOWN else None
    return Sound(
        name, opened_file.samplerate, opened_file.channels, duration, lambda: _sound_file_blocks(name, opened_file)
    )


def _sound_file_blocks(name: str, file: Any) -> Blocks:
    import soundfile

    samples = 0
    try:
        while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
            samples += len(block)
            with np.errstate(invalid="ignore"):  # infinities of both signs; `check_level` tells them
                mean = block.mean(axis=1)
            yield mean
    except soundfile.SoundFileError as error:
        raise MediaError(name, f"it is damaged after {samples / file.samplerate:.2f} s ({error})") from error
    if samples < file.frames < _UNKNOWN:
        raise MediaError(name, f"the file is cut: it holds {samples:,} of {file.frames:,} samples")


def _open_with_pyav(name: str, file: Path | BinaryIO, stack: ExitStack) -> Sound:
    if not isinstance(file, Path):
        file.seek(0)  # libsndfile has looked
    container, stream = stack.enter_context(open_stream(name, file, "audio"))
    duration = container.duration / 1e6 if container.duration else None  # PyAV counts it in microseconds
    return Sound(name, stream.rate or 0, stream.channels, duration, lambda: _container_blocks(name, container, stream))


def _container_blocks(name: str, container: Any, stream: Any) -> Blocks:
    """Blocks of the sound of a container, sample 0 at time 0."""
    to_skip: int | None = None
    for audio_frame in _decode(name, container, stream):
        block = audio_frame.to_ndarray().reshape(-1, audio_frame.layout.nb_channels).mean(axis=1)
        if to_skip is None:
            delay = audio_frame.time or 0.0
            if abs(delay) > _DELAY_LIMIT:
                why = f"its sound starts at {delay:,.0f} s; the time stamps are damaged or of a broadcast"
                raise MediaError(name, why)
            offset = round(delay * audio_frame.sample_rate)
            to_skip = max(-offset, 0)
            yield from (np.zeros(min(_BLOCK, offset - done), np.float32) for done in range(0, offset, _BLOCK))
        if len(block) > to_skip:
            yield block[to_skip:]
        to_skip = max(to_skip - len(block), 0)
    if to_skip is None:
        raise MediaError(name, "it holds no sound (zero samples)")


def _decode(name: str, container: Any, stream: Any) -> Iterator[Any]:
    import av

    # Interleaved: of more than eight planes, one for each channel, PyAV 18 reads memory that is not the frame's.
    as_float = av.AudioResampler(format="flt")
    with ffmpeg_errors(name):
        decoded = container.decode(stream)
    while True:
        with ffmpeg_errors(name):
            whole = next(decoded, None)
            parts = [] if whole is None else as_float.resample(whole)
        yield from parts
        if whole is None:
            return
