"""Check of the chunks of wav files and the boxes of mp4 files: their sizes and their metadata.

Decoders read only sound and pictures. Damage in the other parts also shows that a file was changed.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from crossmodal.errors import MediaError

_XMP_IN_WAV = b"_PMX"
_XMP_IN_MP4 = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # Adobe's UUID of an XMP box
_LARGEST_XMP = 1 << 20  # bytes
_UNKNOWN = 0x7FFFF000  # least length in files that were written to a pipe, without a known length
_BROKEN = "its metadata (XMP) is damaged; sound and video may be intact"


def check_wav_layout(path: Path) -> None:
    """Compare the sizes in the headers of a wav with the file.

    Raises:
        MediaError: The file is shorter than its RIFF header says, or has an invalid chunk.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return  # another format, which soundfile checks
        end = int.from_bytes(head[4:8], "little") + 8
        if not 8 < end < _UNKNOWN:
            return
        if end > size:
            raise MediaError(path, f"the file is truncated: its RIFF header says {end:,} bytes, but it has {size:,}")
        for name, start, length in _chunks(file, end):
            if not name.isascii() or not name.decode().isprintable() or start + length > end:
                raise MediaError(path, f"it is damaged: the chunk at byte {start - 8:,} is invalid")
            if name == _XMP_IN_WAV:
                _check_text(path, file, start, length)


def check_mp4_layout(path: Path) -> None:
    """Check the metadata (XMP) of an mp4.

    Raises:
        MediaError: The metadata is damaged.
    """
    with path.open("rb") as file:
        for name, start, length in _boxes(file):
            if name == b"uuid" and length > len(_XMP_IN_MP4):
                file.seek(start)
                if file.read(len(_XMP_IN_MP4)) == _XMP_IN_MP4:
                    _check_text(path, file, start + len(_XMP_IN_MP4), length - len(_XMP_IN_MP4))


def _chunks(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte and length of the chunks of a wav."""
    start = 12
    while start + 8 <= end:
        file.seek(start)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        yield header[:4], start + 8, length
        start += 8 + length + length % 2


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte and length of the boxes of an mp4, up to the first invalid one."""
    size, start = file.seek(0, os.SEEK_END), 0
    while start + 8 <= size:
        file.seek(start)
        header = file.read(16)
        length, before = int.from_bytes(header[:4], "big"), 8
        if length == 1:  # too long for 32 bits
            length, before = int.from_bytes(header[8:], "big"), 16
        if length < before:
            return
        yield header[4:8], start + before, length - before
        start += length


def _check_text(path: Path, file: BinaryIO, start: int, length: int) -> None:
    if length > _LARGEST_XMP:
        raise MediaError(path, _BROKEN)
    file.seek(start)
    try:
        text = file.read(length).rstrip(b"\0").decode()
    except UnicodeDecodeError:
        raise MediaError(path, _BROKEN) from None
    if not all(character.isprintable() or character in "\t\n\r\ufeff" for character in text):
        raise MediaError(path, _BROKEN)
