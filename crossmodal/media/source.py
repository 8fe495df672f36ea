"""Sources of bytes: paths, bytes and open files, with a check of their headers."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from crossmodal.errors import MediaError
from crossmodal.media.header import check_header

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
def opened(source: Source) -> Iterator[tuple[Path | BinaryIO, bool]]:
    """Open a source as a path or as a seekable file at 0, with the result of `check_header`, or raise MediaError."""
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
            for_ffmpeg = check_header(name, on_disk)
            # libsndfile and FFmpeg cannot open names that are not UTF-8.
            yield path if name.isprintable() else cast(BinaryIO, _SafeSeekFile(on_disk)), for_ffmpeg
        return
    with ExitStack() as stack:
        if isinstance(source, bytes | bytearray | memoryview):
            file: BinaryIO = stack.enter_context(io.BytesIO(source))
        elif _can_seek(source):
            file = source
        else:
            file = cast(BinaryIO, stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY)))
            _copy(name, source, file)
        for_ffmpeg = check_header(name, file)
        yield cast(BinaryIO, _SafeSeekFile(file)), for_ffmpeg


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
