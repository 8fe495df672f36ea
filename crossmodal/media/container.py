"""FFmpeg's containers, through PyAV."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from crossmodal.errors import MediaError

# Formats that hold their data themselves. FFmpeg also knows playlists: bytes that name a file or a URL, which it reads.
_FORMATS = (
    "aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,dtshd,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "nut,oma,ogg,qcp,rm,tak,tta,voc,w64,wav,wv,xwma"
)
_HOLDS = {"audio": "sound is", "video": "pictures are"}


@contextmanager
def open_stream(name: str, source: Path | BinaryIO, kind: Literal["audio", "video"]) -> Iterator[tuple[Any, Any]]:
    """Open a container and its first stream of a kind.

    Raises:
        MediaError: It is damaged, of no such format, or has no such stream, or one that cannot be decoded.
    """
    import av

    with ffmpeg_errors(name):
        container = av.open(str(source) if isinstance(source, Path) else source, options={"format_whitelist": _FORMATS})
    with container:
        streams = getattr(container.streams, kind)
        if not streams:
            raise MediaError(name, "it has no video stream" if kind == "video" else "it has no sound stream")
        if streams[0].codec_context is None:
            raise MediaError(name, f"its {_HOLDS[kind]} coded in a way that is not known here")
        yield container, streams[0]


@contextmanager
def ffmpeg_errors(name: str) -> Iterator[None]:
    """FFmpeg's errors inside the block become MediaError."""
    import av

    try:
        yield
    except (av.FFmpegError, ValueError) as error:  # ValueError: the sound changes its format on the way
        why = getattr(error, "strerror", None) or error
        raise MediaError(name, f"it is damaged or not a sound or video file ({why})") from error
    except IndexError as error:  # PyAV knows the streams that were there when it opened the file, and no other
        raise MediaError(name, "it is damaged: another stream begins in its middle") from error
