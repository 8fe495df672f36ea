"""Containers, opened by FFmpeg through PyAV."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from crossmodal.errors import MediaError

# Self-contained formats. FFmpeg also reads playlists, which can refer to any file or URL.
_FORMATS = (
    "aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,dtshd,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "nut,oma,ogg,qcp,rm,tak,tta,voc,w64,wav,wv,xwma"
)
_STREAM_NAMES = {"audio": "sound", "video": "video"}


@contextmanager
def open_stream(name: str, source: Path | BinaryIO, kind: Literal["audio", "video"]) -> Iterator[tuple[Any, Any]]:
    """Open a container and its first stream of a kind; raise MediaError if either is missing, damaged or unknown."""
    import av

    with ffmpeg_errors(name):
        container = av.open(str(source) if isinstance(source, Path) else source, options={"format_whitelist": _FORMATS})
    with container:
        streams = getattr(container.streams, kind)
        if not streams:
            raise MediaError(name, f"it has no {_STREAM_NAMES[kind]} stream")
        if streams[0].codec_context is None:
            raise MediaError(name, f"its {_STREAM_NAMES[kind]} stream has an unknown codec")
        yield container, streams[0]


@contextmanager
def ffmpeg_errors(name: str) -> Iterator[None]:
    """Convert FFmpeg's errors inside the block to MediaError."""
    import av

    try:
        yield
    except (av.FFmpegError, ValueError) as error:  # ValueError: the sample rate or the channels change within the file
        reason = getattr(error, "strerror", None) or f"its sample rate or channels change: {error}"
        raise MediaError(name, f"it is damaged or not a sound or video file ({reason})") from error
    except IndexError as error:  # PyAV knows only the streams that existed when it opened the file
        raise MediaError(name, "it is damaged: it has a stream that its header does not list") from error


def start_of(stream: Any) -> float:
    """Return the start of a stream according to its header in seconds, infinity if it is unknown."""
    return math.inf if stream.start_time is None else float(stream.start_time * stream.time_base)
