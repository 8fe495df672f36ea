"""Where bytes come from, and whether all of them are there."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from crossmodal.errors import MediaError

Source: TypeAlias = str | Path | bytes | BinaryIO

_IN_MEMORY = 16 << 20  # bytes of a pipe; what is more lies in a temporary file
_MOST_BYTES = 4 << 30  # of a pipe; more than a wav can have


def name_of(source: Source) -> str:
    """How an error calls it."""
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return "bytes"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "file object"


@contextmanager
def opened(source: Source) -> Iterator[Path | BinaryIO]:
    """Make a source one that can be read from its beginning, and any part of it again: a path, or a file at 0.

    Raises:
        MediaError: It is missing, empty, or shorter than it says of itself.
    """
    name = name_of(source)
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise MediaError(name, "there is no such file")
        if not path.is_file():  # to open a named pipe would wait for ever
            raise MediaError(name, "it is not a file")
        try:
            on_disk = path.open("rb")
        except OSError as error:
            raise MediaError(name, f"it cannot be read ({error.strerror})") from error
        with on_disk:
            _check_whole(name, on_disk)
            # Neither libsndfile nor FFmpeg opens a name that is not UTF-8.
            yield path if name.isprintable() else _foolproof(on_disk)
    elif isinstance(source, bytes | bytearray | memoryview):
        with io.BytesIO(source) as in_memory:
            _check_whole(name, in_memory)
            yield _foolproof(in_memory)
    elif _can_seek(source):
        _check_whole(name, source)
        yield _foolproof(source)
    else:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spooled:
            file = cast(BinaryIO, spooled)
            _copy(name, source, file)
            _check_whole(name, file)
            yield _foolproof(file)


class _Foolproof:
    """A file that C code reads: where a damaged header sends it to before the beginning, it says so with -1.

    An exception could not be passed on through C, and would be printed.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read, self.tell = file.read, file.tell

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (ValueError, OSError):
            return -1


def _foolproof(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, _Foolproof(file))


def _can_seek(file: BinaryIO) -> bool:
    try:
        file.seek(0)
    except (OSError, AttributeError):  # a pipe; io.UnsupportedOperation is an OSError
        return False
    return True


def _copy(name: str, source: BinaryIO, target: BinaryIO) -> None:
    while block := source.read(1 << 20):
        target.write(block)
        if target.tell() > _MOST_BYTES:
            raise MediaError(name, f"it goes on after {_MOST_BYTES >> 30} GiB; save it to a file")


def _check_whole(name: str, file: BinaryIO) -> None:
    """Raise MediaError if it is empty, or shorter than it says of itself; leave it at its beginning."""
    if not (size := file.seek(0, os.SEEK_END)):
        raise MediaError(name, "the file is empty (0 bytes)")
    file.seek(0)
    head = file.read(12)
    is_wav, is_mp4 = head[:4] == b"RIFF" and head[8:] == b"WAVE", head[4:8] == b"ftyp"
    end = _wav_end(file) if is_wav else _mp4_end(file, size) if is_mp4 else 0
    if end > size:
        raise MediaError(name, f"the file is cut: it should have {end:,} bytes or more and has {size:,}")
    file.seek(0)


def _wav_end(file: BinaryIO) -> int:
    """Byte where the samples should end; 0 if the header does not say. libsndfile reads what is there and is silent."""
    while len(header := file.read(8)) == 8:
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"data":
            # What writes to a pipe cannot know the length: ffmpeg says 0xFFFFFFFF, SoX a little under 0x7FFFFFFF.
            return 0 if length >= 0x7FFFF000 else file.tell() + length
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0


def _mp4_end(file: BinaryIO, size: int) -> int:
    """Byte where the last box of pictures, sound or index should end. FFmpeg returns fewer frames and is silent."""
    position = end = 0
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
