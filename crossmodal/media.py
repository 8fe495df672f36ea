"""Sound and video frames out of files.

soundfile reads sound files, PyAV the sound of a video, decord or PyAV its pictures; each is imported when it is used.
All times are seconds of the container's clock as FFmpeg reads it: the first picture of most videos is at 0.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from crossmodal.errors import ConfigError, MediaError

if TYPE_CHECKING:
    from PIL.Image import Image

SAMPLE_RATE = 16_000  # Hz, of every waveform in the project
Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of the picture's width and height

_Finish = Callable[["Image"], np.ndarray]  # what is made of a video frame as soon as it is decoded: memory stays small
_CONTAINERS = frozenset({".avi", ".flv", ".m4a", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
_PEAK_LIMIT = 4.0  # decoders overshoot full scale by a little; far beyond it the samples are on another scale
_DELAY_LIMIT = 60.0  # s, of a sound that starts late; a broken time stamp must not ask for gigabytes of silence
_TIME_TOLERANCE = 6e-4  # s; Matroska rounds times to milliseconds, decord to float32


@dataclass(frozen=True)
class VideoInfo:
    """What a video holds."""

    duration: float  # s, until the last video frame ends
    frame_rate: float  # Hz, the mean
    num_video_frames: int  # those that are shown: an edit list may hide some
    width: int  # pixels
    height: int  # pixels
    has_sound: bool  # there is a sound stream; it may be silent


def read_waveform(path: str | Path, sample_rate: int = SAMPLE_RATE, *, start: float = 0.0) -> np.ndarray:
    """Read the sound of a file as one channel.

    Channels are averaged, and resampled at soxr's HQ quality. The sound of a video is put on the video's clock: what
    starts late is preceded by silence. A cut is noticed in formats that declare their length (wav, flac, mp4, mov).

    Args:
        path: A sound file (wav, flac, ogg, mp3, ...) or a video with sound (mp4, mov, mkv, webm, ...).
        sample_rate: Of the result, in Hz.
        start: Seconds to leave out at the beginning.

    Returns:
        `(T,)` float32 in [-1, 1].

    Raises:
        MediaError: The file is missing, empty, cut or not a sound, or its samples are none, not finite or far over 1.
        ConfigError: `start` is negative.
    """
    import soxr

    if start < 0:
        raise ConfigError(f"start must be 0 or more seconds, not {start}")
    path = Path(path)
    _check_whole(path)
    read = _read_container_sound if path.suffix.lower() in _CONTAINERS else _read_sound_file
    waveform, native_rate = read(path)
    waveform = waveform[round(start * native_rate) :]
    peak = np.abs(waveform).max(initial=0.0)
    if not np.isfinite(peak):
        raise MediaError(path, "it holds samples that are not finite numbers (NaN or infinity)")
    if peak > _PEAK_LIMIT:
        raise MediaError(path, f"its samples reach {peak:,.0f} where full scale is 1; was it saved without scaling?")
    if native_rate != sample_rate:
        waveform = soxr.resample(waveform, native_rate, sample_rate, quality="HQ")
    if not waveform.size:
        raise MediaError(path, f"it holds no sound after {start} s" if start else "it holds no sound (zero samples)")
    return np.clip(waveform, -1.0, 1.0)


def probe_video(path: str | Path) -> VideoInfo:
    """Say what a video holds, without decoding it.

    Raises:
        MediaError: The file is missing, empty, cut or not a video.
    """
    path = Path(path)
    _check_whole(path)
    with _open_stream(path, "video") as (container, stream):
        times = _video_frame_times(path, container, stream)
        frame_rate = float(stream.average_rate or stream.guessed_rate or 1)
        return VideoInfo(
            duration=float(times[-1]) + 1 / frame_rate,
            frame_rate=frame_rate,
            num_video_frames=len(times),
            width=stream.width,
            height=stream.height,
            has_sound=bool(container.streams.audio),
        )


def read_video_frames(
    path: str | Path,
    seconds: Sequence[float] | np.ndarray,
    *,
    box: Box | None = None,
    size: int | None = None,
    decoder: Literal["auto", "decord", "pyav"] = "auto",
) -> np.ndarray:
    """Read the video frame that is shown at each instant.

    Outside the video that is its first or last; one due in half a millisecond counts as shown. The answer is the same
    from either decoder: PyAV says when each video frame is shown, and decord is believed only where it agrees.

    Args:
        path: The video.
        seconds: `N` instants, in any order.
        box: The part of the picture to keep; all of it by default.
        size: Width and height of the result in pixels; by default those of `box`, not resized.
        decoder: `auto` is decord, or PyAV where decord is not installed or fails.

    Returns:
        `(N, 3, size, size)` uint8, RGB.

    Raises:
        MediaError: The file is missing, empty, cut, damaged or not a video.
        ConfigError: No instants, or a box that is not inside the picture.
    """
    instants = np.asarray(seconds, dtype=np.float64)
    if instants.ndim != 1 or not instants.size or not np.isfinite(instants).all():
        raise ConfigError(f"seconds must be a list of one or more finite numbers, not {seconds!r}")
    if box is not None and not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise ConfigError(f"box must be left < right and top < bottom, as fractions from 0 to 1, not {box}")
    path = Path(path)
    _check_whole(path)
    with _open_stream(path, "video") as (container, stream):
        times = _video_frame_times(path, container, stream)
        length = (container.duration or 0) / 1e6  # PyAV counts it in microseconds
    # The last picture may stand while the sound ends; a second without pictures is too long for that.
    if min(instants.max(), length) > times[-1] + 1.0:
        raise MediaError(path, f"its pictures end at {times[-1]:.2f} s of {length:.2f} s; the file may be cut")
    shown = np.searchsorted(times, instants + _TIME_TOLERANCE, side="right") - 1
    indices, positions = np.unique(shown.clip(min=0), return_inverse=True)
    finish = partial(_crop_and_resize, box=box, size=size)
    try:
        decode = _decode_with_pyav if decoder == "pyav" else _decode_with_decord
        video_frames = decode(path, indices, times[indices], finish)
    except MediaError:
        if decoder != "auto":
            raise
        video_frames = _decode_with_pyav(path, indices, times[indices], finish)
    return np.ascontiguousarray(np.stack(video_frames)[positions].transpose(0, 3, 1, 2))


def _check_whole(path: Path) -> None:
    """Raise MediaError if the file is not there, is empty, or is shorter than it says of itself."""
    if not path.is_file():
        raise MediaError(path, "there is no such file")
    if not (size := path.stat().st_size):
        raise MediaError(path, "the file is empty (0 bytes)")
    with path.open("rb") as file:
        head = file.read(12)
        is_wav, is_mp4 = head[:4] == b"RIFF" and head[8:] == b"WAVE", head[4:8] == b"ftyp"
        end = _wav_end(file) if is_wav else _mp4_end(file) if is_mp4 else 0
    if end > size:
        raise MediaError(path, f"the file is cut: it should have {end:,} bytes or more and has {size:,}")


def _wav_end(file: BinaryIO) -> int:
    """Byte where the samples should end; 0 if the header does not say. libsndfile reads what is there and is silent."""
    while len(header := file.read(8)) == 8:
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"data":
            # What writes to a pipe cannot know the length: ffmpeg says 0xFFFFFFFF, SoX a little under 0x7FFFFFFF.
            return 0 if length >= 0x7FFFF000 else file.tell() + length
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0


def _mp4_end(file: BinaryIO) -> int:
    """Byte where the last box of pictures, sound or index should end. FFmpeg returns fewer frames and is silent."""
    position = end = 0
    size = file.seek(0, os.SEEK_END)
    while position < size:
        file.seek(position)
        header = file.read(16)
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:  # too long for 32 bits
            length = int.from_bytes(header[8:], "big")
        if length < 8:  # 0 is a box "to the end of the file", the rest is none
            break
        position += length
        if name in (b"mdat", b"moov", b"moof"):
            end = position
    return end


def _read_sound_file(path: Path) -> tuple[np.ndarray, int]:
    """Return the mean of a sound file's channels, `(T,)` float32, and its sample rate."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            samples = file.read(dtype="float32", always_2d=True)
            declared, sample_rate = file.frames, file.samplerate
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a .raw file, which has no header
        raise MediaError(path, f"it is not a sound file that can be read ({error})") from error
    if len(samples) < declared:
        raise MediaError(path, f"the file is cut: it holds {len(samples):,} of {declared:,} samples")
    return samples.mean(axis=1), sample_rate


def _read_container_sound(path: Path) -> tuple[np.ndarray, int]:
    """Return the mean of the sound channels of a video, sample 0 at time 0, `(T,)` float32, and its sample rate."""
    import av

    with _open_stream(path, "audio") as (container, stream):
        as_float = av.AudioResampler(format="fltp")
        audio_frames = [part for whole in container.decode(stream) for part in as_float.resample(whole)]
    if not audio_frames:
        raise MediaError(path, "it holds no sound (zero samples)")
    first = audio_frames[0]
    delay = first.time or 0.0
    if abs(delay) > _DELAY_LIMIT:
        raise MediaError(path, f"its sound starts at {delay:,.0f} s; the time stamps are damaged or of a broadcast")
    samples = np.concatenate([audio_frame.to_ndarray() for audio_frame in audio_frames], axis=1).mean(axis=0)
    offset = round(delay * first.sample_rate)
    return np.pad(samples, (max(offset, 0), 0))[max(-offset, 0) :], first.sample_rate


@contextmanager
def _open_stream(path: Path, kind: Literal["audio", "video"]) -> Iterator[tuple[Any, Any]]:
    """Open a container and its first stream of a kind; FFmpeg's errors inside the block become MediaError."""
    import av

    try:
        with av.open(str(path)) as container:
            streams = getattr(container.streams, kind)
            if not streams:
                raise MediaError(path, "it has no video stream" if kind == "video" else "it has no sound stream")
            yield container, streams[0]
    except (av.FFmpegError, ValueError) as error:  # ValueError: the sound changes its format on the way
        why = getattr(error, "strerror", error)
        raise MediaError(path, f"it is damaged or not a sound or video file ({why})") from error


def _video_frame_times(path: Path, container: Any, stream: Any) -> np.ndarray:
    """Read when each video frame is first shown, in seconds, increasing. Reads the packets and decodes nothing."""
    packets = (packet for packet in container.demux(stream) if packet.pts is not None and not packet.is_discard)
    times = np.unique([float(packet.pts * stream.time_base) for packet in packets])
    if not times.size:
        raise MediaError(path, "it has a video stream without video frames, or without their times")
    return times


def _decode_with_decord(path: Path, indices: np.ndarray, times: np.ndarray, finish: _Finish) -> list[np.ndarray]:
    # decord may loop over the end of a file that promises more than it has; PyAV is there when it gives up.
    os.environ.setdefault("DECORD_EOF_RETRY_MAX", "2048")
    try:
        import decord
    except (ImportError, OSError) as error:
        raise MediaError(path, f"decord is not installed here ({error}); decoder='pyav' does its work") from error
    from PIL import Image

    decord.logging.set_level(decord.logging.QUIET)
    try:
        # The reader decodes on in the background, the whole clip, as long as it lives: it must not leave this block.
        reader = decord.VideoReader(str(path), num_threads=1)
        shown = reader.get_frame_timestamp(indices)[:, 0] if indices[-1] < len(reader) else np.inf
        if not np.allclose(shown, times, rtol=0, atol=_TIME_TOLERANCE):
            raise RuntimeError("its times differ from FFmpeg's")
        return [finish(Image.fromarray(reader[int(index)].asnumpy())) for index in indices]
    except (RuntimeError, decord.DECORDError) as error:  # DECORDError is no RuntimeError
        raise MediaError(path, f"decord cannot decode it ({str(error).partition(chr(10))[0]})") from error


def _decode_with_pyav(path: Path, indices: np.ndarray, times: np.ndarray, finish: _Finish) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    with _open_stream(path, "video") as (container, stream):
        wanted = {round(time / float(stream.time_base)) for time in times.tolist()}
        for video_frame in container.decode(stream):
            if video_frame.pts in wanted:
                found.append(finish(video_frame.to_image()))
            if len(found) == len(indices):
                return found
    raise MediaError(path, f"only {len(found)} of {len(indices)} video frames decode; the file is cut or damaged")


def _crop_and_resize(image: "Image", box: Box | None, size: int | None) -> np.ndarray:
    """Return `(H, W, 3)` uint8; the resize is antialiased."""
    from PIL.Image import Resampling

    left, top, right, bottom = np.multiply(box or (0, 0, 1, 1), image.size * 2).tolist()
    if size is None:
        return np.asarray(image)[round(top) : round(bottom), round(left) : round(right)]
    area = (left, top, right, bottom)
    return np.asarray(image.resize((size, size), Resampling.BILINEAR, box=area, reducing_gap=2.0))
