"""Untrusted zip archives: validated before anything is written, and extracted atomically.

An archive is refused as a whole where any of its members would leave the folder, is a link, is encrypted, stands there
twice, shares its bytes with another, would fill the disk, or is no recording that belongs there.
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

# RAVDESS's largest archive has 1,440 members, its largest recording some 10 MB, and no wav is packed to less than 1/7.
MOST_MEMBERS = 5_000
LARGEST_MEMBER = 256 << 20  # bytes
LARGEST_TOTAL = 8 << 30  # bytes
HIGHEST_RATIO = 100

_LOCAL_HEADER = 30  # bytes before a member's name
_PIECE = 1 << 20
# What zipfile lets through where an archive's own tables are damaged.
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
    """One file of an archive, from the central directory.

    Args:
        path: Within the archive, with ``/``.
        size: In bytes.
        crc32: Of its content.
    """

    path: str
    size: int
    crc32: int


def list_members(path: Path, parse: Callable[[str], object]) -> list[Member]:
    """Read the central directory of an archive, and check that every member may be extracted.

    Folders, and the notes that macOS adds, are no members.

    Args:
        path: The zip.
        parse: Raises a ValueError for the path of a member that does not belong there.

    Raises:
        ArchiveError: The archive is damaged or refused; the text says which member and why.
    """
    with _open(path) as archive:
        infos = archive.infolist()
        if len(infos) > MOST_MEMBERS:
            raise ArchiveError(f"{path.name} is refused: {len(infos)} members, {MOST_MEMBERS} are the most.")
        for info in infos:
            if reason := _why_not(info):
                raise ArchiveError(f"{path.name} is refused: {info.orig_filename!r} {reason}.")
        _refuse_overlaps(path.name, infos, archive.start_dir)
    infos = [info for info in infos if not (info.is_dir() or _is_note_of_macos(info.filename))]
    if (total := sum(info.file_size for info in infos)) > LARGEST_TOTAL:
        raise ArchiveError(f"{path.name} is refused: its members have {total} bytes, {LARGEST_TOTAL} are the most.")
    _refuse_strangers(path.name, infos, parse)
    return [Member(info.filename, info.file_size, info.CRC) for info in infos]


def extract_members(
    path: Path, members: Sequence[Member], folder: Path, work: Path, on_bytes: Callable[[int], None]
) -> None:
    """Extract members of an archive; a file gets its name once its size and CRC are verified.

    Args:
        path: The zip, whose directory was read with `list_members`.
        members: Which.
        folder: Where to; a member lies there under its path.
        work: A folder of the same file system for what is not whole yet.
        on_bytes: Is called with the number of bytes of each piece.

    Raises:
        ArchiveError: A member is damaged. Those before it are extracted.
        OSError: A file cannot be written.
    """
    with _open(path) as archive:
        for member in members:
            temporary = work / f"{PurePosixPath(member.path).name}.tmp"
            target = folder / member.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(archive, member, temporary, on_bytes)
            temporary.replace(target)


def is_there(member: Member, folder: Path, on_bytes: Callable[[int], None]) -> bool:
    """Return True if a member was extracted to a folder with the right size and CRC.

    Args:
        member: Which.
        folder: Where its archive was extracted to.
        on_bytes: Is called with the number of bytes of each piece.
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
    with archive.open(member.path) as packed, path.open("wb") as file:
        while piece := packed.read(_PIECE):
            file.write(piece)
            crc32, size = zlib.crc32(piece, crc32), size + len(piece)
            on_bytes(len(piece))
        file.flush()
        os.fsync(file.fileno())
    if (size, crc32) != (member.size, member.crc32):
        raise zipfile.BadZipFile(f"{member.path} has {size} bytes and CRC {crc32:08x}, not those of the directory")


def _why_not(info: zipfile.ZipInfo) -> str | None:
    """Return the reason why a member may not be extracted, or None."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or any(character in name for character in "\\:\0"):
        return "is a path that is not below the folder"
    if any(part in ("", ".", "..") for part in parts):
        return "is a path that may leave the folder"
    if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
        return "is a link or a device, no file"
    if info.flag_bits & 0x41:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is packed by method {info.compress_type}; stored and deflated are known"
    if info.file_size > LARGEST_MEMBER:
        return f"has {info.file_size} bytes, {LARGEST_MEMBER} are the most"
    if info.file_size > HIGHEST_RATIO * max(info.compress_size, 1):
        return f"has {info.file_size} bytes, packed to {info.compress_size}: 1/{HIGHEST_RATIO} is the least"
    return None


def _refuse_overlaps(name: str, infos: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Check that the bytes of members do not overlap and precede the directory."""
    for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
        size = _LOCAL_HEADER + len(info.orig_filename.encode(errors="replace")) + info.compress_size
        if info.header_offset < 0 or info.header_offset + size > end:
            raise ArchiveError(f"{name} is refused: {info.filename!r} shares its bytes with another member.")
        end = info.header_offset


def _refuse_strangers(name: str, infos: Sequence[zipfile.ZipInfo], parse: Callable[[str], object]) -> None:
    """Check that each member is an expected recording, without duplicates."""
    seen = set()
    for info in infos:
        try:
            parse(info.filename)
        except ValueError as error:
            raise ArchiveError(f"{name} is refused: {info.filename!r}: {error}.") from error
        recording = PurePosixPath(info.filename).name.casefold()
        if recording in seen:
            raise ArchiveError(f"{name} is refused: {info.filename!r} stands there twice.")
        seen.add(recording)


def _is_note_of_macos(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return parts[0] == "__MACOSX" or parts[-1].startswith("._") or parts[-1] == ".DS_Store"
