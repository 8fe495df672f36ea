"""One array, one file: NumPy's own format, read as a memory map, with a checksum behind it.

`numpy.load` reads such a file as any other, and stops where the array ends.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import DataError
from crossmodal.storage import atomic_path

_CHECKSUM = struct.Struct("<8sI")  # a mark, and the CRC-32 of all that stands before it
_MARK = b"\ncrc-32:"
_PIECE = 1 << 20


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write an array, whole or not at all."""
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            np.save(file, array)
        checksum = _crc32(temporary, temporary.stat().st_size)
        with temporary.open("ab") as file:
            file.write(_CHECKSUM.pack(_MARK, checksum))


def read_array(path: Path) -> NDArray[np.generic] | None:
    """Map an array into memory; None where there is none or it is not whole."""
    try:
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # NumPy raises whatever its parser of headers does
        return None
    return array


def check_array(path: Path) -> NDArray[np.generic]:
    """Map an array into memory, once all of it has been read.

    A file without a checksum, which somebody else has written, is taken as it is.

    Raises:
        DataError: There is none, it is not whole, or a byte has changed since it was written. It is then removed, and
            the next run, which finds none, makes it anew.
    """
    array = read_array(path)
    if array is None or not _is_unchanged(path):
        path.unlink(missing_ok=True)
        raise DataError(f"{path} is gone from the cache or damaged: run the command again and it is made anew.")
    return array


def _is_unchanged(path: Path) -> bool:
    before = path.stat().st_size - _CHECKSUM.size
    with path.open("rb") as file:
        file.seek(max(before, 0))
        mark, checksum = _CHECKSUM.unpack(file.read(_CHECKSUM.size))
    return mark != _MARK or bool(checksum == _crc32(path, before))


def _crc32(path: Path, size: int) -> int:
    """Of so many bytes at the beginning of a file."""
    checksum = 0
    with path.open("rb") as file:
        while size > 0:
            piece = file.read(min(size, _PIECE))
            checksum = zlib.crc32(piece, checksum)
            size -= len(piece) or size
    return checksum
