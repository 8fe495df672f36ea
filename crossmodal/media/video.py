"""Video properties, and video frames at given times."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ConfigError, MediaError
from crossmodal.media.container import ffmpeg_errors, open_stream, start_of
from crossmodal.media.header import warn
from crossmodal.media.sound import decode_sound
from crossmodal.media.source import opened

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of the picture's width and height
VideoDecoder = Literal["pyav", "decord", "auto"]
Floats = NDArray[np.float64]

_SEEK_AFTER = 5.0  # s; later video frames are decoded from a keyframe instead of from the beginning
_TIME_TOLERANCE = 6e-4  # s; Matroska rounds times to milliseconds, decord to float32


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video."""

    duration: float  # s, to the end of the last video frame
    frame_rate: float  # Hz, mean
    num_video_frames: int  # without those that an edit list hides
    width: int  # pixels, as displayed
    height: int  # pixels, as displayed
    has_sound: bool  # True if there is a sound stream, which may be silent


@dataclass(frozen=True)
class _Index:
    info: VideoInfo
    times: Floats  # s, of the video frames, increasing, as in the container
    start: float  # s, of the first video frame or sample, whichever is earlier
    length: float  # s, of the container
    decord_seeks: bool  # True if decord finds video frames after seeking


def probe_video(path: str | Path) -> VideoInfo:
    """Return the properties of a video; only its first video frame is decoded. It may raise MediaError."""
    return _index(Path(path)).info


def read_video_frames(
    path: str | Path,
    seconds: Sequence[float] | Floats,
    *,
    box: Box | None = None,
    size: int | None = None,
    decoder: VideoDecoder = "pyav",
) -> NDArray[np.uint8]:
    """Read the video frame that is shown at each of N times, upright: (N, 3, H, W) uint8, RGB.

    The times are in seconds after the start of the file, in any order. Those outside the video give its first or last
    frame. A frame that starts within half a millisecond counts as shown. See `crop_picture` for `box` and `size`.

    Raises:
        MediaError: If the file is missing, empty, truncated, damaged or not a video.
        ConfigError: If there are no times, or the box is not inside the picture.
    """
    if box is not None and not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise ConfigError(f"box must have left < right and top < bottom, as fractions from 0 to 1, not {box}")
    distinct, positions = np.unique(_check_instants(seconds), return_inverse=True)
    crops = [crop_picture(picture, box, size) for picture in iterate_video_frames(path, distinct, decoder)]
    return np.ascontiguousarray(np.stack(crops)[positions])


def iterate_video_frames(
    path: str | Path, seconds: Sequence[float] | Floats, decoder: VideoDecoder = "pyav"
) -> Iterator["Image"]:
    """Yield the picture that is shown at each of some increasing times, upright, with one picture in memory.

    The decoder is ``pyav``; ``decord``, which must agree with the times that PyAV finds in the container; or ``auto``:
    decord, and PyAV if decord is not installed, fails or disagrees. Errors are those of `read_video_frames`.
    """
    instants, path = _check_instants(seconds), Path(path)
    index = _index(path)
    # The sound may be slightly longer than the video, but not by more than a second.
    last = index.times[-1] - index.start
    if min(instants.max(), index.length) > last + 1.0:
        reason = f"its video ends at {last:.2f} s of {index.length:.2f} s; the file may be truncated"
        raise MediaError(path, reason)
    shown = np.searchsorted(index.times, instants + index.start + _TIME_TOLERANCE, side="right").clip(min=1) - 1
    numbers, repeats = np.unique(shown, return_counts=True)
    for picture, repeat in zip(_decode(path, index, numbers, decoder), repeats, strict=True):
        yield from [picture] * repeat


def crop_picture(picture: "Image", box: Sequence[float] | Floats | None, size: int | None) -> NDArray[np.uint8]:
    """Crop a picture and resize it with antialiasing: (3, size, size) uint8, RGB.

    The box, by default the whole picture, is in fractions of width and height. Without `size`, the crop keeps its size.
    """
    from PIL.Image import Resampling

    left, top, right, bottom = np.multiply((0, 0, 1, 1) if box is None else box, picture.size * 2).tolist()
    if size is None:
        crop = np.asarray(picture)[round(top) : round(bottom), round(left) : round(right)]
    else:
        area = (left, top, right, bottom)
        crop = np.asarray(picture.resize((size, size), Resampling.BILINEAR, box=area, reducing_gap=2.0))
    return crop.transpose(2, 0, 1)


def _check_instants(seconds: Sequence[float] | Floats) -> Floats:
    instants = np.asarray(seconds, dtype=np.float64)
    if instants.ndim != 1 or not instants.size or not np.isfinite(instants).all():
        raise ConfigError(f"seconds must be a list of one or more finite numbers, not {seconds!r}")
    return instants


@contextlib.contextmanager
def _open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video and its video stream; FFmpeg's errors inside the block become MediaError."""
    with opened(path), open_stream(str(path), path, "video") as streams, ffmpeg_errors(str(path)):
        yield streams


def _index(path: Path) -> _Index:
    try:
        status = path.stat()
    except OSError:
        return _index_cached(path, 0, 0)  # raises MediaError with the reason
    return _index_cached(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _index_cached(path: Path, size: int, mtime: int) -> _Index:
    """Read the times of all video frames; cached while the file's size and modification time stay the same."""
    with _open_video(path) as (container, stream):
        ticks, first, keyframe, has_leading = [], None, -math.inf, False
        for packet in container.demux(stream):
            first = first or next((decoded for decoded in packet.decode() if not decoded.is_corrupt), None)
            if packet.pts is None:
                continue
            keyframe = packet.pts if packet.is_keyframe else keyframe
            has_leading |= packet.pts < keyframe  # an open group of pictures
            if not packet.is_discard:
                ticks.append(packet.pts)
        if first and first.pts is not None:  # a recording of a broadcast starts with video frames that do not decode
            ticks = [tick for tick in ticks if tick >= first.pts]
        if not ticks:
            raise MediaError(path, "its video stream has no video frames, or no times for them")
        base = stream.time_base
        times = np.unique(ticks).astype(np.float64) * base.numerator / base.denominator
        if hidden := len(ticks) - len(times):
            warn(str(path), f"{hidden} video frames have the times of others, as in joined files; they are not read")
        is_first = min(map(start_of, container.streams.audio[:1]), default=math.inf) >= times[0]
        start = float(times[0] if is_first else min(times[0], _first_sample(path)))
        frame_rate = float(stream.average_rate or stream.guessed_rate or 1)
        width, height = (stream.width, stream.height)[:: -1 if first and _quarter_turns(first) % 2 else 1]
        duration, has_sound = float(times[-1]) - start + 1 / frame_rate, bool(container.streams.audio)
        return _Index(
            VideoInfo(duration, frame_rate, len(times), width, height, has_sound),
            times,
            start,
            (container.duration or 0) / 1e6,  # microseconds to seconds
            stream.codec_context.name == "h264" and not has_leading,
        )


def _first_sample(path: Path) -> float:
    """Return the time of the first sample that decodes, in seconds."""
    with contextlib.suppress(MediaError), open_stream(str(path), path, "audio") as (container, stream):
        return next(frame.time or 0.0 for frame, _ in decode_sound(str(path), container, stream))
    return math.inf


def _quarter_turns(video_frame: Any) -> int:
    """Return the number of anticlockwise quarter turns that make a video frame upright, as phones record it."""
    return round(video_frame.rotation / 90)


def _decode(path: Path, index: _Index, numbers: NDArray[np.intp], decoder: VideoDecoder) -> Iterator["Image"]:
    """Yield the video frames with the given numbers; where one way of decoding fails, the next one continues."""
    times, done = index.times[numbers], 0
    attempts: list[Callable[[], Iterator[Image]]] = []
    if decoder != "pyav":
        attempts.append(lambda: _decode_with_decord(path, index, numbers[done:]))
    if decoder != "decord":
        if times[0] > _SEEK_AFTER:  # a keyframe well before; if the file's index is wrong, decode from the beginning
            attempts.append(lambda: _decode_with_pyav(path, float(times[done]) - 1.0, times[done:]))
        attempts.append(lambda: _decode_with_pyav(path, None, times[done:]))
    for attempt in attempts:
        try:
            for picture in attempt():
                done += 1
                yield picture
            return
        except MediaError:
            if attempt is attempts[-1]:
                raise


def _decode_with_decord(path: Path, index: _Index, numbers: NDArray[np.intp]) -> Iterator["Image"]:
    # decord may retry at the end of a truncated file.
    os.environ.setdefault("DECORD_EOF_RETRY_MAX", "2048")
    try:
        import decord
    except (ImportError, OSError) as error:
        raise MediaError(path, f"decord is not installed ({error}); use the decoder pyav") from error
    from PIL import Image

    decord.logging.set_level(decord.logging.QUIET)
    try:
        if not index.decord_seeks:
            raise RuntimeError("it finds video frames in H.264 with closed groups of pictures only")
        # The reader decodes the whole clip in the background while it exists, so it must not outlive this block.
        reader = decord.VideoReader(str(path), num_threads=1)
        shown = reader.get_frame_timestamp(numbers)[:, 0] if numbers[-1] < len(reader) else np.inf
        if not np.allclose(shown, index.times[numbers], rtol=0, atol=_TIME_TOLERANCE):
            raise RuntimeError("its times differ from those in the container")
        for number in numbers:
            if (picture := reader[int(number)].asnumpy()).shape != (index.info.height, index.info.width, 3):
                raise RuntimeError("its pictures have another size")
            yield Image.fromarray(picture)
    except (RuntimeError, decord.DECORDError) as error:  # DECORDError is not a RuntimeError
        raise MediaError(path, f"decord cannot decode it ({str(error).partition(chr(10))[0]})") from error


def _decode_with_pyav(path: Path, start: float | None, times: Floats) -> Iterator["Image"]:
    import av
    from av.video.reformatter import VideoReformatter
    from PIL import Image

    # A shared reformatter is ten times as fast as to_image() of each frame. PyAV 17 and later start threads for it.
    to_rgb = VideoReformatter()
    single_thread = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
    with _open_video(path) as (container, stream):
        wanted = {round(time / float(stream.time_base)) for time in times.tolist()}
        if start is not None:
            container.seek(int(start / stream.time_base), stream=stream)
        stream.thread_type = "NONE"  # with frame threads FFmpeg misses some damage
        found, first = 0, None
        for packet in container.demux(stream):
            first = packet.pts if first is None else first
            # Skip unwanted frames that no other frame depends on.
            stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            for video_frame in packet.decode():
                # FFmpeg conceals damage. Frames before the first keyframe are expected to be corrupt.
                if video_frame.is_corrupt and not (first and video_frame.pts and video_frame.pts < first):
                    when = video_frame.time or 0.0
                    raise MediaError(path, f"it is damaged: its video frame at {when:.2f} s does not decode")
                if video_frame.pts in wanted:
                    picture = to_rgb.reformat(video_frame, format="rgb24", **single_thread).to_ndarray()
                    found += 1
                    yield Image.fromarray(np.ascontiguousarray(np.rot90(picture, _quarter_turns(video_frame))))
                if found == len(times):
                    return
    raise MediaError(path, f"only {found} of {len(times)} video frames decode; the file is truncated or damaged")
