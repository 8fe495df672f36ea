"""Video properties, and video frames at given times."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crossmodal.errors import ConfigError, MediaError
from crossmodal.media.container import ffmpeg_errors, open_stream
from crossmodal.media.source import opened

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of the picture's width and height

_Transform = Callable[["Image"], np.ndarray]  # applied to each video frame when it is decoded, to save memory
_SEEK_AFTER = 5.0  # s; later video frames are decoded from a keyframe instead of from the beginning
_TIME_TOLERANCE = 6e-4  # s; Matroska rounds times to milliseconds, decord to float32


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video."""

    duration: float  # s, to the end of the last video frame
    frame_rate: float  # Hz, mean
    num_video_frames: int  # without those that an edit list hides
    width: int  # pixels
    height: int  # pixels
    has_sound: bool  # True if there is a sound stream, which may be silent


def probe_video(path: str | Path) -> VideoInfo:
    """Return the properties of a video without decoding it.

    Raises:
        MediaError: If the file is missing, empty, truncated or not a video.
    """
    return _probe(Path(path))[0]


def read_video_frames(
    path: str | Path,
    seconds: Sequence[float] | np.ndarray,
    *,
    box: Box | None = None,
    size: int | None = None,
    decoder: Literal["auto", "decord", "pyav"] = "auto",
) -> np.ndarray:
    """Read the video frame that is shown at each given time.

    Times outside the video give its first or last frame. A frame that starts within half a millisecond counts as shown.
    Both decoders give the same result: PyAV determines the times of video frames, and decord must agree with them.

    Args:
        path: Path of the video.
        seconds: `N` times in seconds, in any order.
        box: Part of the picture to keep; by default all of it.
        size: Width and height of the result in pixels; by default those of `box`, without resizing.
        decoder: `auto` uses decord, or PyAV if decord is not installed or fails.

    Returns:
        `(N, 3, size, size)` uint8, RGB.

    Raises:
        MediaError: If the file is missing, empty, truncated, damaged or not a video.
        ConfigError: If there are no times, or the box is not inside the picture.
    """
    instants = np.asarray(seconds, dtype=np.float64)
    if instants.ndim != 1 or not instants.size or not np.isfinite(instants).all():
        raise ConfigError(f"seconds must be a list of one or more finite numbers, not {seconds!r}")
    if box is not None and not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise ConfigError(f"box must have left < right and top < bottom, as fractions from 0 to 1, not {box}")
    path = Path(path)
    _, times, length = _probe(path)
    # The sound may be slightly longer than the video, but not by more than a second.
    if min(instants.max(), length) > times[-1] + 1.0:
        raise MediaError(path, f"its video ends at {times[-1]:.2f} s of {length:.2f} s; the file may be truncated")
    shown = np.searchsorted(times, instants + _TIME_TOLERANCE, side="right") - 1
    indices, positions = np.unique(shown.clip(min=0), return_inverse=True)
    transform = partial(_crop_and_resize, box=box, size=size)
    try:
        decode = _decode_with_pyav if decoder == "pyav" else _decode_with_decord
        video_frames = decode(path, indices, times[indices], transform)
    except MediaError:
        if decoder != "auto":
            raise
        video_frames = _decode_with_pyav(path, indices, times[indices], transform)
    return np.ascontiguousarray(np.stack(video_frames)[positions].transpose(0, 3, 1, 2))


@contextlib.contextmanager
def _open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video and its video stream; FFmpeg's errors inside the block become MediaError."""
    with opened(path), open_stream(str(path), path, "video") as streams, ffmpeg_errors(str(path)):
        yield streams


def _probe(path: Path) -> tuple[VideoInfo, np.ndarray, float]:
    """Return the properties of a video, the times of its video frames, and its length, both in seconds."""
    try:
        status = path.stat()
    except OSError:
        return _probe_cached(path, 0, 0)  # raises MediaError with the reason
    return _probe_cached(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _probe_cached(path: Path, size: int, mtime: int) -> tuple[VideoInfo, np.ndarray, float]:
    """Probe a file; the result is cached while its size and modification time stay the same."""
    with _open_video(path) as (container, stream):
        times = _video_frame_times(path, container, stream)
        frame_rate = float(stream.average_rate or stream.guessed_rate or 1)
        info = VideoInfo(
            duration=float(times[-1]) + 1 / frame_rate,
            frame_rate=frame_rate,
            num_video_frames=len(times),
            width=stream.width,
            height=stream.height,
            has_sound=bool(container.streams.audio),
        )
        return info, times, (container.duration or 0) / 1e6  # microseconds to seconds


def _video_frame_times(path: Path, container: Any, stream: Any) -> np.ndarray:
    """Return the times of video frames in increasing seconds, without decoding them."""
    packets = (packet for packet in container.demux(stream) if packet.pts is not None and not packet.is_discard)
    ticks, base = np.unique([packet.pts for packet in packets]), stream.time_base
    if not ticks.size:
        raise MediaError(path, "its video stream has no video frames, or no times for them")
    return ticks.astype(np.float64) * base.numerator / base.denominator


def _decode_with_decord(path: Path, indices: np.ndarray, times: np.ndarray, transform: _Transform) -> list[np.ndarray]:
    # decord may retry at the end of a truncated file; PyAV takes over when it gives up.
    os.environ.setdefault("DECORD_EOF_RETRY_MAX", "2048")
    try:
        import decord
    except (ImportError, OSError) as error:
        raise MediaError(path, f"decord is not installed ({error}); use decoder='pyav'") from error
    from PIL import Image

    decord.logging.set_level(decord.logging.QUIET)
    try:
        # The reader decodes the whole clip in the background while it exists, so it must not outlive this block.
        reader = decord.VideoReader(str(path), num_threads=1)
        shown = reader.get_frame_timestamp(indices)[:, 0] if indices[-1] < len(reader) else np.inf
        if not np.allclose(shown, times, rtol=0, atol=_TIME_TOLERANCE):
            raise RuntimeError("its times differ from FFmpeg's")
        return [transform(Image.fromarray(reader[int(index)].asnumpy())) for index in indices]
    except (RuntimeError, decord.DECORDError) as error:  # DECORDError is not a RuntimeError
        raise MediaError(path, f"decord cannot decode it ({str(error).partition(chr(10))[0]})") from error


def _decode_with_pyav(path: Path, indices: np.ndarray, times: np.ndarray, transform: _Transform) -> list[np.ndarray]:
    if times[0] > _SEEK_AFTER:
        # Seek to a keyframe well before; if the file's index is wrong, decode from the beginning.
        with contextlib.suppress(MediaError):
            return _decode_from(path, float(times[0]) - 1.0, times, transform)
    return _decode_from(path, None, times, transform)


def _decode_from(path: Path, start: float | None, times: np.ndarray, transform: _Transform) -> list[np.ndarray]:
    import av
    from av.video.reformatter import VideoReformatter
    from PIL import Image

    # A shared reformatter is ten times as fast as to_image() of each frame. PyAV 17 and later start threads for it.
    to_rgb = VideoReformatter()
    single_thread = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
    found: list[np.ndarray] = []
    with _open_video(path) as (container, stream):
        wanted = {round(time / float(stream.time_base)) for time in times.tolist()}
        if start is not None:
            container.seek(int(start / stream.time_base), stream=stream)
        stream.thread_type = "NONE"  # with frame threads FFmpeg misses some damage
        first: int | None = None
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
                    found.append(transform(Image.fromarray(picture)))
                if len(found) == len(times):
                    return found
    raise MediaError(path, f"only {len(found)} of {len(times)} video frames decode; the file is truncated or damaged")


def _crop_and_resize(image: "Image", box: Box | None, size: int | None) -> np.ndarray:
    """Crop and resize with antialiasing; returns `(H, W, 3)` uint8."""
    from PIL.Image import Resampling

    left, top, right, bottom = np.multiply(box or (0, 0, 1, 1), image.size * 2).tolist()
    if size is None:
        return np.asarray(image)[round(top) : round(bottom), round(left) : round(right)]
    area = (left, top, right, bottom)
    return np.asarray(image.resize((size, size), Resampling.BILINEAR, box=area, reducing_gap=2.0))
