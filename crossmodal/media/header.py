"""Lengths in the header of a file: truncated files, headers that a recorder did not finish, files joined end to end."""

import os
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from crossmodal.errors import MediaError

_HEADER = 44  # bytes of a usual wav header; some recorders count it, or 8 or 36 bytes of it, as samples
# Writers to a pipe do not know the length: ffmpeg writes 0xFFFFFFFF, SoX slightly less than 0x7FFFFFFF.
_UNKNOWN = 0x7FFF0000
# A file that starts like this and contains its first eight bytes again is several files.
_READ_BY_FFMPEG = (b"OggS", b"fLaC")
_READ_ONCE = (b"FLV\x01", b"caff", b"TTA1", b"\x30\x26\xb2\x75")  # the last is ASF


def check_header(name: str, file: BinaryIO) -> bool:
    """Return True if only FFmpeg reads all of a file; raise MediaError if it is empty or shorter than declared.

    Warn if the header is not finished, or bytes follow that are not read. The file is rewound.
    """
    if not (size := file.seek(0, os.SEEK_END)):
        raise MediaError(name, "the file is empty (0 bytes)")
    file.seek(0)
    head = file.read(28)
    start, end, rest = _extent(file, head, size)
    joined = _find_again(file, head[:8]) if head.startswith(_READ_BY_FFMPEG + _READ_ONCE) else 0
    file.seek(0)
    if joined and head.startswith(_READ_ONCE):
        rest, end = size - joined, joined
    if (missing := end - size) > 0:
        if not start or (missing > _HEADER and missing not in (start, start - 8)):
            raise MediaError(name, f"the file is truncated: it should have at least {end:,} bytes, but has {size:,}")
        warn(name, f"its header declares {missing:,} bytes more than there are; it is read to the end of the file")
    elif start and start >= end and rest:
        warn(name, f"its header declares no samples, but {rest:,} bytes follow; it is read to the end of the file")
        return head[:4] == b"RIFF"
    elif rest > (end - start) // 100:
        warn(name, f"{rest:,} bytes follow its end, perhaps another file that was joined to it; they are not read")
        return head[:4] == b"riff"  # libsndfile reads a joined Wave64, and its header as samples
    return bool(joined)


def warn(name: str, reason: str) -> None:
    """Warn about a file."""
    warnings.warn(f"{name}: {reason}", stacklevel=2)


def declares_mp3_length(file: Path | BinaryIO) -> bool:
    """Return True if the first frame of an MP3 contains the number of frames."""
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as opened:
        opened.seek(0)
        head = opened.read(10)  # of an ID3 tag, whose length is four times seven bits
        length = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
        opened.seek(10 + length if head[:3] == b"ID3" else 0)
        frame = opened.read(1024)
    return any(name in frame for name in (b"Xing", b"Info", b"VBRI"))


def _find_again(file: BinaryIO, signature: bytes) -> int:
    """Return the place of the second occurrence of the first bytes of a file, or 0."""
    file.seek(1)
    position, block = 1, file.read(1 << 20)
    while (place := block.find(signature)) < 0:
        if len(block) < len(signature):
            return 0
        position += len(block) - 7
        block = block[-7:] + file.read(1 << 20)
    return position + place


def _extent(file: BinaryIO, head: bytes, size: int) -> tuple[int, int, int]:
    """Return the bytes at which the declared samples start and end, 0 if unknown, and the number of bytes after it."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _wav_extent(file, size)
    if head[4:8] == b"ftyp":
        return _mp4_extent(file, size)
    if head[:4] == b"caff":
        return _caf_extent(file)
    ends = {
        b"FORM": 8 + int.from_bytes(head[4:8], "big"),  # AIFF
        b"RF64": 8 + int.from_bytes(head[20:28], "little"),
        b"riff": int.from_bytes(head[16:24], "little"),  # Wave64
        b".snd": int.from_bytes(head[4:8], "big") + int.from_bytes(head[8:12], "big"),
    }
    end = ends.get(head[:4], 0) if head[8:12] != b"\xff\xff\xff\xff" else 0
    return (_HEADER, end, max(size - end, 0)) if 0 < end < 1 << 62 else (0, 0, 0)


def _wav_extent(file: BinaryIO, size: int) -> tuple[int, int, int]:
    start, end, position = 0, 0, 12
    while True:
        file.seek(position)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        is_chunk = header[:4].isascii() and header[:4].decode().isprintable() and header[:4] not in (b"RIFF", b"data")
        if len(header) < 8 or (start and not (is_chunk and position + 8 + length <= size)):
            return start, end, max(size - position, 0) if start else 0
        position += 8
        if header[:4] == b"data":
            if length >= _UNKNOWN:
                return 0, 0, 0
            start, end = position, position + length
        position += length + length % 2


def _caf_extent(file: BinaryIO) -> tuple[int, int, int]:
    position = 8
    while True:
        file.seek(position)
        header = file.read(12)
        length = int.from_bytes(header[4:], "big", signed=True)
        if len(header) < 12 or length < 0:  # -1 means to the end of the file
            return 0, 0, 0
        position += 12
        if header[:4] == b"data":
            return position, position + length, 0  # chunks that follow describe the samples
        position += length


def _mp4_extent(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Return the end of the last box of video, audio or index. FFmpeg does not read a second file."""
    position = end = second = 0
    while position < size:
        file.seek(position)
        header = file.read(16)
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:  # a 64-bit length follows
            length = int.from_bytes(header[8:], "big")
        if length < 8:  # 0 means to the end of the file; other values are invalid
            break
        if name == b"ftyp" and position and not second:
            second = position
        position += length
        if name in (b"mdat", b"moov", b"moof"):
            end = position
    return (0, second, size - second) if second and end <= size else (0, end, 0)
