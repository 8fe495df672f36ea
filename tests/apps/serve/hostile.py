"""Malicious and damaged uploads."""

import gzip
import io
import itertools
import struct
import zipfile
from collections.abc import Iterator

import numpy as np

from tests.apps.serve.client import encoded, voice, wav
from tests.apps.serve.test_sniff import through_ffmpeg


def riff(data: bytes = b"", *, channels=1, rate=16_000, bits=16, kind=1, block=None, size=None, before=b"") -> bytes:
    """Return a wav file with any header."""
    block = channels * bits // 8 if block is None else block
    head = struct.pack("<HHIIHH", kind, channels & 0xFFFF, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    size = len(data) if size is None else size
    chunks = before + b"fmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(4 + len(chunks), 2**32 - 1)) + b"WAVE" + chunks


def not_sound() -> dict[str, bytes]:
    """Files of other formats."""
    zip_bomb = io.BytesIO()
    with zipfile.ZipFile(zip_bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.wav", bytes(20_000_000))
    address = b"http://127.0.0.1:9/secret.ts\n"
    return {
        "one byte": b"R",
        "zeros": bytes(100_000),
        "text": b"hello\n" * 1000,
        "zip bomb": zip_bomb.getvalue(),
        "gzip bomb": gzip.compress(bytes(20_000_000)),
        "html": b"<html><script>alert(1)</script></html>",
        "png": b"\x89PNG\r\n\x1a\n" + bytes(1000),
        "pickle": b"\x80\x04\x95" + bytes(100),
        "elf": b"\x7fELF" + bytes(1000),
        "hls playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n" + address,
        "ffconcat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "playlist in a tag": b"ID3\x04\x00\x00\x00\x00\x00\x00#EXTM3U\n#EXTINF:10,\n" + address,
    }


def lying_headers() -> dict[str, bytes]:
    """Wav files with false or impossible headers."""
    sound = wav()[44:]
    hours = 10 * 3600 * 16_000 * 2
    return {
        "no samples": riff(),
        "no channels": riff(sound, channels=0, block=2),
        "no block": riff(sound, block=0),
        **{f"{size:,} bytes": riff(sound, size=size) for size in (hours, 0xFFFFFFFF)},
        **{f"{size:,} bytes without a byte": riff(size=size) for size in (hours, 0xFFFFFFFF)},
        **{f"{rate:,} Hz": riff(sound, rate=rate) for rate in (0, 1, 2**32 - 1)},
        **{f"{number:,} channels": riff(sound * 10, channels=number) for number in (1000, 65_535)},
        **{f"{bits} bits": riff(sound, bits=bits) for bits in (0, 3, 512)},
        **{f"codec {kind:#x}": riff(sound, kind=kind) for kind in (0x7777, 0x55)},  # unknown, and mp3
        "endless list": riff(sound, before=b"LIST\xff\xff\xff\xff"),
        "chunks without end": b"RIFF\xff\xff\xff\xffWAVE" + b"LIST\x00\x00\x00\x00" * 20_000,
        "rf64": b"RF64\xff\xff\xff\xffWAVEds64\x1c\x00\x00\x00" + b"\xff" * 28 + riff(sound)[12:],
        "w64": encoded(voice(), format="W64")[:40] + b"\xff" * 200,
        "flac of 2^36 samples": b"fLaC\x80\x00\x00\x22" + struct.pack(">HH", 4096, 4096) + b"\xff" * 30,
        "mp4 of huge boxes": b"\x00\x00\x00\x18ftypmp42" + bytes(12) + b"\x7f\xff\xff\xffmoov" + b"\xff" * 1000,
        "mp4 of nested boxes": b"\x00\x00\x00\x18ftypmp42" + bytes(12) + b"\x00\x00\x10\x00moov" * 500,
    }


def odd_samples() -> dict[str, bytes]:
    """Wav files with samples that are not finite, or not sound."""
    loud = np.full(16_000, 1.0, np.float32)
    floats = {f"all {value}": loud * value for value in (np.nan, np.inf, 1e30, 1e-42, 1)}
    floats["one nan at the end"] = np.append(voice()[:, 0], np.nan)
    content = {name: samples.astype("<f4").tobytes() for name, samples in floats.items()}
    return {name: riff(data, bits=32, kind=3) for name, data in content.items()} | {"one sample": riff(b"\x00\x01")}


def bombs() -> dict[str, bytes]:
    """Small files that decode to more than two minutes of silence."""
    hour = np.zeros(3600 * 16_000, np.int16)
    minutes = hour[: 150 * 16_000]
    return {
        "flac bomb": encoded(hour, format="FLAC"),
        "flac bomb of 8 channels": encoded(np.zeros((150 * 48_000, 8), np.int16), 48_000, format="FLAC"),
        "ogg bomb": encoded(minutes, format="OGG", subtype="VORBIS"),
        "mp3 bomb": encoded(minutes, format="MP3", subtype="MPEG_LAYER_III"),
        "mp4 bomb": through_ffmpeg("mp4", 150.0, loudness=0.0),
        "webm bomb": through_ffmpeg("webm", 150.0, loudness=0.0),
    }


def hostile_uploads(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """All of the above, then valid files of every format, truncated or with some bytes changed."""
    made = {**not_sound(), **lying_headers(), **odd_samples(), **bombs()}
    rng = np.random.default_rng(seed)
    good = {
        "wav": wav(),
        "flac": encoded(voice(), format="FLAC"),
        "ogg": encoded(voice(), format="OGG", subtype="VORBIS"),
        "mp3": encoded(voice(), format="MP3", subtype="MPEG_LAYER_III"),
        **{format: through_ffmpeg(format) for format in ("mp4", "matroska", "mpegts", "adts", "avi")},
    }

    def damaged() -> Iterator[tuple[str, bytes]]:
        for number, (name, content) in enumerate(itertools.cycle(good.items())):
            if number % 2:
                yield f"{name} {number}, cut", content[: rng.integers(1, len(content))]
                continue
            bytes_of = np.frombuffer(content, np.uint8).copy()
            end = len(bytes_of) if number % 3 else min(200, len(bytes_of))  # every third one in its header
            places = rng.integers(0, end, rng.integers(1, 30))
            bytes_of[places] = rng.integers(0, 256, len(places))
            yield f"{name} {number}, damaged", bytes_of.tobytes()

    return itertools.islice(itertools.chain(made.items(), damaged()), count)
