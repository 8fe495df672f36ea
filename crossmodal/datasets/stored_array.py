"""Memory-mapped arrays in NumPy files, with a checksum after the array, where `numpy.load` ignores it."""

import mmap
import os
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import DataError
from crossmodal.storage import atomic_path, locked, remove_leftovers

_CHECKSUM = struct.Struct("<8sI")  # a marker, and the CRC-32 of all bytes before it
_MARK = b"\ncrc-32:"


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write an array atomically."""
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            np.save(file, array)
        checksum = zlib.crc32(np.memmap(temporary, np.uint8, mode="r").data)
        with temporary.open("ab") as file:
            file.write(_CHECKSUM.pack(_MARK, checksum))


def read_array(path: Path) -> NDArray[np.generic] | None:
    """Memory-map an array; return None if it is missing or truncated."""
    try:
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # NumPy's header parser raises many exception types
        return None
    return array


def array_mark(path: Path) -> object:
    """Return the size and checksum of a stored array, which equal arrays share; for an array of a stream its path."""
    try:
        with path.open("rb") as file:
            return file.seek(-_CHECKSUM.size, os.SEEK_END), file.read()
    except OSError:
        return path


def cached(path: Path, make: Callable[[], NDArray[np.generic]]) -> Literal["made", "found", "busy"]:
    """Create an array of the cache, unless it exists or another process is creating it.

    It is two folders below the cache, and its name is a key.
    """
    with locked(path.parents[2] / "locks" / f"{path.stem[:3]}.lock", wait=False) as state:
        if state == "taken":
            return "busy"
        if read_array(path) is not None:
            return "found"
        if state == "held":  # without lock support, another process may be writing the same array
            remove_leftovers(path)
        write_array(path, make())
    return "made"


def check_array(path: Path) -> NDArray[np.generic]:
    """Verify the checksum of an array, if it has one, which reads the whole file, and memory-map it.

    If the file is missing, truncated or changed, DataError is raised and the file is removed: the next run rebuilds it.
    """
    array = read_array(path)
    if array is None or not _is_unchanged(path):
        path.unlink(missing_ok=True)
        raise DataError(f"Cached array {path} is missing or corrupted; rerun the command to rebuild it.")
    return array


@lru_cache(maxsize=8192)
def open_array(path: Path) -> NDArray[np.generic]:
    """Return `check_array` of a path, and keep the memory map open.

    Opening takes longer than reading a clip. A process can have 65,530 memory maps, so only the latest are kept.
    """
    return check_array(path)


def copy_array(path: Path) -> NDArray[np.generic]:
    """Return a copy of `open_array`, and release the pages of the map, so that memory does not grow with the corpus."""
    array = open_array(path)
    copy = np.array(array)
    pages = getattr(array, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        pages.madvise(mmap.MADV_DONTNEED)
    return copy


def _is_unchanged(path: Path) -> bool:
    content = np.memmap(path, np.uint8, mode="r")
    mark, checksum = _CHECKSUM.unpack(content[-_CHECKSUM.size :].tobytes())
    return mark != _MARK or bool(checksum == zlib.crc32(content[: -_CHECKSUM.size].data))
