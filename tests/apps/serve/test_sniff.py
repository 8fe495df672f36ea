import io

import av
import numpy as np
import pytest
import soundfile

from crossmodal.apps.serve.sniff import sniff_audio
from tests.apps.serve.client import encoded, voice

SOUNDFILE_FORMATS = ["WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "AU", "CAF", "W64", "MP3"]
CONTAINERS = ["mp4", "mov", "matroska", "webm", "avi", "flv", "mpegts", "adts", "asf", "mp3", "ogg"]
CODECS = {"webm": "libopus", "ogg": "libopus", "mp3": "libmp3lame", "flv": "libmp3lame", "asf": "libmp3lame"}


def through_ffmpeg(format: str, seconds: float = 0.5, loudness: float = 1.0) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(CODECS.get(format, "aac"), rate=48_000 if format != "flv" else 44_100)
        stream.layout = "mono"
        samples = (loudness * voice(seconds, stream.rate))[None, :, 0].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="mono")
        frame.sample_rate = stream.rate
        for part in (frame, None):
            container.mux(stream.encode(part))
    return file.getvalue()


@pytest.mark.parametrize("format", SOUNDFILE_FORMATS + CONTAINERS)
def test_formats_of_soundfile_and_ffmpeg_are_detected(format):
    subtype = soundfile.default_subtype(format) if format.isupper() else None
    content = through_ffmpeg(format) if format.islower() else encoded(voice(), 16_000, format, subtype)
    assert sniff_audio(content[:256])


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"R", b"RIFF", b"%PDF-1.7", b"<html>"),
        b"RIFF\x24\x00\x00\x00WEBPVP8 ",
        b"FORM\x00\x00\x00\x04ILBM",
        b"PK\x03\x04" + bytes(100),
        b"\x1f\x8b\x08" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100),
        b"\xff\xfeh\x00e\x00l\x00l\x00o\x00",  # UTF-16
        b"#EXTM3U\n#EXTINF:10,\nhttp://example.org/a.ts\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"Go to the file\n" * 20,
    ],
    ids=lambda content: repr(content[:8]),
)
def test_other_formats_are_not_detected(content):
    assert not sniff_audio(content)
