"""Ways to damage a file, reproducible with a seeded random number generator."""

import re
import struct
from collections.abc import Callable
from random import Random

Mutation = Callable[[Random, bytes], bytes]

# Tags before header fields of RIFF, Wave64, AIFF, CAF, FLAC, Ogg, MPEG, ISO media, Matroska and zip.
_TAGS = re.compile(
    rb"RIFF|RF64|ds64|fmt |data|fact|FORM|COMM|SSND|caff|desc|pakt|fLaC|OggS|\x01vorbis|OpusHead|\.snd|FLV\x01|ID3|"
    rb"Xing|avih|strh|strf|idx1|ftyp|moov|mvhd|tkhd|mdhd|hdlr|elst|stsd|avc1|avcC|mp4a|esds|stts|ctts|stsc|stsz|stco|mdat|"
    rb"\x1aE\xdf\xa3|\x16T\xaek|\xb0|\xba|\xb5|\x9f|\x2a\xd7\xb1|PK\x01\x02|PK\x03\x04|PK\x05\x06|PAR1|NUMPY"
)
_REACH = 64  # bytes after a tag that contain its fields


def flip(rng: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(round(2 ** rng.uniform(0, 7))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def flip_the_beginning(rng: Random, content: bytes) -> bytes:
    """Replace bytes at the beginning, where headers are."""
    size = min(256, len(content))
    return flip(rng, content[:size]) + content[size:]


def cut(rng: Random, content: bytes) -> bytes:
    at = rng.randrange(1, len(content) + 1)
    return content[at:] if rng.random() < 0.2 else content[:at]


def insert(rng: Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(round(2 ** rng.uniform(0, 10))) + content[at:]


def swap(rng: Random, content: bytes) -> bytes:
    a, b, c, d = sorted(rng.randrange(len(content) + 1) for _ in range(4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def blank(rng: Random, content: bytes) -> bytes:
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:first] + rng.choice((b"\0", b"\xff")) * (last - first) + content[last:]


def repeat(rng: Random, content: bytes) -> bytes:
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    times = min(rng.choice((2, 3, 50)), 1 + 200_000 // (last - first + 1))
    return content[:first] + content[first:last] * times + content[last:]


def extreme_field(rng: Random, content: bytes) -> bytes:
    """Set a few numbers in headers to extreme values."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        number = extreme_number(rng)
        places = [found.end() for found in _TAGS.finditer(content)] or [0]
        at = rng.choice(places) + rng.randrange(-4, _REACH)
        if 0 <= at <= len(changed) - len(number):
            changed[at : at + len(number)] = number
    return bytes(changed)


def extreme_number(rng: Random) -> bytes:
    size = rng.choice((1, 2, 4, 4, 4, 8))
    largest = (1 << 8 * size) - 1
    number = rng.choice((0, 1, 2, largest, largest - 1, largest >> 1, (largest >> 1) + 1, largest >> 4, 768_000))
    return (number & largest).to_bytes(size, rng.choice(("little", "big")))


def float_field(rng: Random, content: bytes) -> bytes:
    """Insert NaN, infinite, huge or tiny floats."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 8, 64))):
        number = rng.choice((float("nan"), float("inf"), float("-inf"), 3e38, -3e38, 1e-42))
        at = rng.randrange(len(changed))
        changed[at : at + 4] = struct.pack("<f", number)
    return bytes(changed)


BYTES: dict[str, Mutation] = {
    "bytes flipped": flip,
    "bytes at the beginning flipped": flip_the_beginning,
    "cut": cut,
    "bytes inserted": insert,
    "blocks swapped": swap,
    "block of zeros or ones": blank,
    "block repeated": repeat,
    "extreme numbers in headers": extreme_field,
    "extreme floats": float_field,
}
