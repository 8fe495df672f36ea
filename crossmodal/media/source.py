"""Sources of bytes: paths, bytes and open files, with a check for truncation."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from crossmodal.errors import MediaError

Source: TypeAlias = str | Path | bytes | BinaryIO

_IN_MEMORY = 16 << 20  # bytes of a pipe that stay in memory; more go to a temporary file
_MOST_BYTES = 4 << 30  # of a pipe; more than a wav can have


def name_of(source: Source) -> str:
    """Return the name of a source for error messages."""
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return "bytes"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "file object"


@contextmanager
def opened(source: Source) -> Iterator[Path | BinaryIO]:
    """Open a source as a path or as a seekable file at 0; raise MediaError if it is missing, empty or truncated."""
    name = name_of(source)
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise MediaError(name, "the file does not exist")
        if not path.is_file():  # opening a named pipe would block forever
            raise MediaError(name, "it is not a file")
        try:
            on_disk = path.open("rb")
        except OSError as error:
            raise MediaError(name, f"it cannot be read ({error.strerror})") from error
        with on_disk:
            _check_whole(name, on_disk)
            # libsndfile and FFmpeg cannot open names that are not UTF-8.
            yield path if name.isprintable() else cast(BinaryIO, _SafeSeekFile(on_disk))
        return
    with ExitStack() as stack:
        if isinstance(source, bytes | bytearray | memoryview):
            file: BinaryIO = stack.enter_context(io.BytesIO(source))
        elif _can_seek(source):
            file = source
        else:
            file = cast(BinaryIO, stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY)))
            _copy(name, source, file)
        _check_whole(name, file)
        yield cast(BinaryIO, _SafeSeekFile(file))


class _SafeSeekFile:
    """File whose `seek` to an invalid position, as from a damaged header, returns -1 instead of raising.

    An exception cannot pass through C code and would be printed.
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
            raise MediaError(name, f"it has more than {_MOST_BYTES >> 30} GiB; save it to a file")


def _check_whole(name: str, file: BinaryIO) -> None:
    """Raise MediaError if a file is empty or shorter than its header says; then rewind it."""
    if not (size := file.seek(0, os.SEEK_END)):
        raise MediaError(name, "the file is empty (0 bytes)")
    file.seek(0)
    head = file.read(12)
    is_wav, is_mp4 = head[:4] == b"RIFF" and head[8:] == b"WAVE", head[4:8] == b"ftyp"
    end = _wav_end(file) if is_wav else _mp4_end(file, size) if is_mp4 else 0
    if end > size:
        raise MediaError(name, f"the file is truncated: it should have at least {end:,} bytes, but has {size:,}")
    file.seek(0)


def _wav_end(file: BinaryIO) -> int:
    """Return the byte where the samples should end, 0 if unknown; libsndfile does not report truncation."""
    while len(header := file.read(8)) == 8:
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"data":
            # Writers to a pipe do not know the length: ffmpeg writes 0xFFFFFFFF, SoX slightly less than 0x7FFFFFFF.
            return 0 if length >= 0x7FFFF000 else file.tell() + length
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0


def _mp4_end(file: BinaryIO, size: int) -> int:
    """Return the byte where the last box of video, audio or index should end; FFmpeg does not report truncation."""
    position = end = 0
    while position < size:
        file.seek(position)
        header = file.read(16)
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:  # a 64-bit length follows
            length = int.from_bytes(header[8:], "big")
        if length < 8:  # 0 means to the end of the file; other values are invalid
            break
        position += length
        if name in (b"mdat", b"moov", b"moof"):
            end = position
    return end
