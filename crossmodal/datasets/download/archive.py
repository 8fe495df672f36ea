"""Untrusted zip archives: validated before extraction, and extracted atomically."""

import contextlib
import errno
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crossmodal.errors import ArchiveError
from crossmodal.storage import atomic_path, is_metadata, remove_leftovers

# RAVDESS's largest archive has 0.6 GB, and its highest compression ratio is 7.
LARGEST_TOTAL = 4 << 30  # bytes
HIGHEST_RATIO = 100

# Folders and a file name that begin with a letter or digit: neither absolute, nor with "..", drives or backslashes.
_SAFE_PATH = re.compile(r"(\w[\w .-]*/)*\w[\w .-]*")
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OverflowError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Member:
    """A file in an archive: its path with ``/``, its uncompressed size in bytes, and its CRC-32."""

    path: str
    size: int
    crc32: int


def list_members(path: Path, parse: Callable[[str], object]) -> list[Member]:
    """Read the central directory of an archive, and check that all members are safe to extract.

    Folders and metadata files of macOS are ignored. `parse` raises ValueError for the path of an unexpected member.
    ArchiveError, with the member and the reason, is raised for a damaged archive, an unsafe path, an unexpected name,
    the same name twice, or too large members.
    """
    with _open(path) as archive:
        infos = [info for info in archive.infolist() if not _is_ignored(info.filename)]
    names = set()
    for info in infos:
        try:
            if not _SAFE_PATH.fullmatch(info.filename):
                raise ValueError("its path may be outside the folder")
            parse(info.filename)
            name = PurePosixPath(info.filename).name.casefold()
            if name in names:
                raise ValueError("it is a duplicate")
        except ValueError as error:
            raise ArchiveError(f"{path.name} is rejected: {info.filename!r}: {error}.") from error
        names.add(name)
    limit = min(LARGEST_TOTAL, HIGHEST_RATIO * path.stat().st_size)
    if (total := sum(info.file_size for info in infos)) > limit:
        raise ArchiveError(f"{path.name} is rejected: its members have {total} bytes, more than {limit}.")
    return [Member(info.filename, info.file_size, info.CRC) for info in infos]


def extract_members(path: Path, members: Sequence[Member], folder: Path) -> None:
    """Extract members, validated by `list_members`, to a folder, in which they keep their paths.

    Each file gets its name after its size and CRC are verified. If a member is damaged, ArchiveError is raised; members
    before it are extracted.
    """
    with _open(path) as archive:
        for member in members:
            target = folder / member.path
            remove_leftovers(target)
            with atomic_path(target) as temporary:
                with archive.open(member.path) as compressed, temporary.open("wb") as file:
                    shutil.copyfileobj(compressed, file)  # at most the declared size; zipfile checks the CRC
                if (size := temporary.stat().st_size) != member.size:
                    raise zipfile.BadZipFile(f"{member.path} has {size} bytes instead of {member.size}")


def is_extracted(member: Member, folder: Path) -> bool:
    """Return True if a member exists in a folder with the right size and CRC."""
    path = folder / member.path
    return path.is_file() and path.stat().st_size == member.size and crc32_of(path) == member.crc32


def crc32_of(path: Path) -> int:
    """Return the CRC-32 of a file."""
    crc32 = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            crc32 = zlib.crc32(piece, crc32)
    return crc32


@contextlib.contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: the position of a member is negative
            raise
        raise ArchiveError(f"{path.name} is damaged: {error or type(error).__name__}.") from error


def _is_ignored(path: str) -> bool:
    """Return True for folders and metadata files of macOS."""
    *folders, name = path.split("/")
    return not name or any(map(is_metadata, [*folders, name])) or name == ".DS_Store"
