"""Video: what it holds, and the pictures that are shown at given instants."""

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

_Finish = Callable[["Image"], np.ndarray]  # what is made of a video frame as soon as it is decoded: memory stays small
_FAR = 5.0  # s into a video from which on it is decoded from a keyframe, not from its beginning
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


def probe_video(path: str | Path) -> VideoInfo:
    """Say what a video holds, without decoding it.

    Raises:
        MediaError: The file is missing, empty, cut or not a video.
    """
    return _look_into(Path(path))[0]


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
    _, times, length = _look_into(path)
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


@contextlib.contextmanager
def _open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video and its stream of pictures; what FFmpeg says inside the block becomes MediaError."""
    with opened(path), open_stream(str(path), path, "video") as streams, ffmpeg_errors(str(path)):
        yield streams


def _look_into(path: Path) -> tuple[VideoInfo, np.ndarray, float]:
    """What a video holds, when each of its video frames is first shown, and its length, in seconds."""
    try:
        status = path.stat()
    except OSError:
        return _look_again(path, 0, 0)  # to say what is wrong with it
    return _look_again(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _look_again(path: Path, size: int, changed: int) -> tuple[VideoInfo, np.ndarray, float]:
    """Look into a file; once, as long as it does not change, though several things are asked about it in turn."""
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
        return info, times, (container.duration or 0) / 1e6  # PyAV counts it in microseconds


def _video_frame_times(path: Path, container: Any, stream: Any) -> np.ndarray:
    """Seconds, increasing. Reads the packets and decodes nothing."""
    packets = (packet for packet in container.demux(stream) if packet.pts is not None and not packet.is_discard)
    ticks, base = np.unique([packet.pts for packet in packets]), stream.time_base
    if not ticks.size:
        raise MediaError(path, "it has a video stream without video frames, or without their times")
    return ticks.astype(np.float64) * base.numerator / base.denominator


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
    if times[0] > _FAR:
        # A keyframe that lies well before is as good as the beginning, unless the file's index is wrong.
        with contextlib.suppress(MediaError):
            return _decode_from(path, float(times[0]) - 1.0, times, finish)
    return _decode_from(path, None, times, finish)


def _decode_from(path: Path, start: float | None, times: np.ndarray, finish: _Finish) -> list[np.ndarray]:
    import av
    from av.video.reformatter import VideoReformatter
    from PIL import Image

    # One for all: a video frame's own to_image() takes ten times as long. From 17 on, PyAV would start threads for it.
    to_rgb = VideoReformatter()
    alone = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
    found: list[np.ndarray] = []
    with _open_video(path) as (container, stream):
        wanted = {round(time / float(stream.time_base)) for time in times.tolist()}
        if start is not None:
            container.seek(int(start / stream.time_base), stream=stream)
        stream.thread_type = "NONE"  # FFmpeg forgets some of the damage where threads share a picture
        first: int | None = None
        for packet in container.demux(stream):
            first = packet.pts if first is None else first
            # What no other video frame is made from need not be decoded where nobody wants it.
            stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            for video_frame in packet.decode():
                # FFmpeg fills in what is damaged, and is silent; before the first keyframe that is as it should be.
                if video_frame.is_corrupt and not (first and video_frame.pts and video_frame.pts < first):
                    when = video_frame.time or 0.0
                    raise MediaError(path, f"it is damaged: its picture at {when:.2f} s does not decode")
                if video_frame.pts in wanted:
                    picture = to_rgb.reformat(video_frame, format="rgb24", **alone).to_ndarray()
                    found.append(finish(Image.fromarray(picture)))
                if len(found) == len(times):
                    return found
    raise MediaError(path, f"only {len(found)} of {len(times)} video frames decode; the file is cut or damaged")


def _crop_and_resize(image: "Image", box: Box | None, size: int | None) -> np.ndarray:
    """Return `(H, W, 3)` uint8; the resize is antialiased."""
    from PIL.Image import Resampling

    left, top, right, bottom = np.multiply(box or (0, 0, 1, 1), image.size * 2).tolist()
    if size is None:
        return np.asarray(image)[round(top) : round(bottom), round(left) : round(right)]
    area = (left, top, right, bottom)
    return np.asarray(image.resize((size, size), Resampling.BILINEAR, box=area, reducing_gap=2.0))
