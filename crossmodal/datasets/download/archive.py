"""Untrusted zip archives: validated before extraction, and extracted atomically.

An archive is rejected if any member has an unsafe path, is a link, is encrypted, is a duplicate, overlaps another
member, is too large, or is not an expected recording.
"""

import contextlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crossmodal.errors import ArchiveError

# RAVDESS's largest archive has 1,440 members, its largest recording some 10 MB, and its highest compression ratio is 7.
MOST_MEMBERS = 5_000
LARGEST_MEMBER = 256 << 20  # bytes
LARGEST_TOTAL = 8 << 30  # bytes
HIGHEST_RATIO = 100

_LOCAL_HEADER = 30  # bytes before a member's name
_PIECE = 1 << 20
# Exceptions of zipfile for damaged archives.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class Member:
    """A file in an archive, from the central directory.

    Args:
        path: Path in the archive, with ``/``.
        size: Uncompressed size in bytes.
        crc32: CRC-32 of the content.
    """

    path: str
    size: int
    crc32: int


def list_members(path: Path, parse: Callable[[str], object]) -> list[Member]:
    """Read the central directory of an archive, and check that all members are safe to extract.

    Folders and metadata files of macOS are ignored.

    Args:
        path: Path of the zip.
        parse: Function that raises ValueError for the path of an unexpected member.

    Raises:
        ArchiveError: If the archive is damaged or rejected. The message names the member and the reason.
    """
    with _open(path) as archive:
        infos = archive.infolist()
        if len(infos) > MOST_MEMBERS:
            raise ArchiveError(f"{path.name} is rejected: it has {len(infos)} members, more than {MOST_MEMBERS}.")
        for info in infos:
            if reason := _unsafe_reason(info):
                raise ArchiveError(f"{path.name} is rejected: {info.orig_filename!r} {reason}.")
        _check_overlaps(path.name, infos, archive.start_dir)
    infos = [info for info in infos if not (info.is_dir() or _is_macos_metadata(info.filename))]
    if (total := sum(info.file_size for info in infos)) > LARGEST_TOTAL:
        raise ArchiveError(f"{path.name} is rejected: its members have {total} bytes, more than {LARGEST_TOTAL}.")
    _check_names(path.name, infos, parse)
    return [Member(info.filename, info.file_size, info.CRC) for info in infos]


def extract_members(
    path: Path, members: Sequence[Member], folder: Path, work: Path, on_bytes: Callable[[int], None]
) -> None:
    """Extract members of an archive. Each file is renamed to its target after its size and CRC are verified.

    Args:
        path: Path of the zip, validated with `list_members`.
        members: Members to extract.
        folder: Target folder; members keep their paths in it.
        work: Folder for temporary files, on the same file system.
        on_bytes: Progress callback, called with the number of bytes of each block.

    Raises:
        ArchiveError: If a member is damaged. Members before it are extracted.
        OSError: If a file cannot be written.
    """
    with _open(path) as archive:
        for member in members:
            temporary = work / f"{PurePosixPath(member.path).name}.tmp"
            target = folder / member.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(archive, member, temporary, on_bytes)
            temporary.replace(target)


def is_extracted(member: Member, folder: Path, on_bytes: Callable[[int], None]) -> bool:
    """Return True if a member was extracted to a folder with the right size and CRC.

    Args:
        member: Member to check.
        folder: Folder to which the archive was extracted.
        on_bytes: Progress callback, called with the number of bytes of each block.
    """
    path = folder / member.path
    if not path.is_file() or path.stat().st_size != member.size:
        return False
    crc32 = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            crc32 = zlib.crc32(piece, crc32)
            on_bytes(len(piece))
    return crc32 == member.crc32


@contextlib.contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGE as error:
        raise ArchiveError(f"{path.name} is damaged: {error or type(error).__name__}.") from error


def _write(archive: zipfile.ZipFile, member: Member, path: Path, on_bytes: Callable[[int], None]) -> None:
    crc32 = size = 0
    with archive.open(member.path) as compressed, path.open("wb") as file:
        while piece := compressed.read(_PIECE):
            file.write(piece)
            crc32, size = zlib.crc32(piece, crc32), size + len(piece)
            on_bytes(len(piece))
        file.flush()
        os.fsync(file.fileno())
    if (size, crc32) != (member.size, member.crc32):
        raise zipfile.BadZipFile(f"{member.path} has {size} bytes and CRC {crc32:08x}, unlike its directory entry")


def _unsafe_reason(info: zipfile.ZipInfo) -> str | None:
    """Return the reason why a member is unsafe to extract, or None."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or any(character in name for character in "\\:\0"):
        return "is a path outside the folder"
    if any(part in ("", ".", "..") for part in parts):
        return "is a path that may be outside the folder"
    if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
        return "is a link or a device, not a file"
    if info.flag_bits & 0x41:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"has compression method {info.compress_type}; only stored and deflated are supported"
    if info.file_size > LARGEST_MEMBER:
        return f"has {info.file_size} bytes, more than {LARGEST_MEMBER}"
    if info.file_size > HIGHEST_RATIO * max(info.compress_size, 1):
        return f"has {info.file_size} bytes, compressed to {info.compress_size}: more than a factor of {HIGHEST_RATIO}"
    return None


def _check_overlaps(name: str, infos: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Check that members do not overlap and precede the directory."""
    for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
        size = _LOCAL_HEADER + len(info.orig_filename.encode(errors="replace")) + info.compress_size
        if info.header_offset < 0 or info.header_offset + size > end:
            raise ArchiveError(f"{name} is rejected: {info.filename!r} overlaps another member.")
        end = info.header_offset


def _check_names(name: str, infos: Sequence[zipfile.ZipInfo], parse: Callable[[str], object]) -> None:
    """Check that each member is an expected recording, without duplicates."""
    seen = set()
    for info in infos:
        try:
            parse(info.filename)
        except ValueError as error:
            raise ArchiveError(f"{name} is rejected: {info.filename!r}: {error}.") from error
        recording = PurePosixPath(info.filename).name.casefold()
        if recording in seen:
            raise ArchiveError(f"{name} is rejected: {info.filename!r} is a duplicate.")
        seen.add(recording)


def _is_macos_metadata(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return parts[0] == "__MACOSX" or parts[-1].startswith("._") or parts[-1] == ".DS_Store"
