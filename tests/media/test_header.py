import io
import struct
import warnings
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from crossmodal.apps.serve.decoder_process import decode
from crossmodal.errors import MediaError
from crossmodal.media import open_sound, read_waveform
from tests.media.recordings import numbered_pictures, sine, write_video
from tests.media.test_source import Pipe

SAMPLES = np.random.default_rng(0).normal(0, 3000, 16_000).astype("<i2")
DATA = SAMPLES.tobytes()
LIST = b"LIST" + struct.pack("<I", 14) + b"INFOISFT" + struct.pack("<I", 2) + b"a\0"


def wav(length: int, data: bytes = DATA, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """Return a wav with a declared length of its samples."""
    riff = min(length + 36 + len(before) + len(after), 0xFFFFFFFF)
    form = struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVE" + before + b"fmt " + form + b"data" + struct.pack("<I", length)
    return head + data + after


def encoded(samples: np.ndarray, rate: int = 16_000, **how) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **how)
    return file.getvalue()


def mp3(path: Path, codec: str = "libmp3lame", rate: int = 44_100, **options: str) -> Path:
    """Write three seconds, half of them still, without the number of frames."""
    time = np.arange(3 * rate) / rate
    voice = np.float32(0.3 * np.sin(2 * np.pi * 300 * time) * (np.sin(2 * np.pi * 0.7 * time) > 0))
    with av.open(str(path), "w", options={"write_xing": "0"} if path.suffix == ".mp3" else {}) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono", options=options)
        stream.bit_rate = 64_000
        for first in range(0, len(voice), 1152):
            frame = av.AudioFrame.from_ndarray(voice[None, first : first + 1152], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def everywhere(path: Path) -> list[np.ndarray]:
    """Read a file as a path, bytes, an open file and a pipe, and as the server does."""
    content = path.read_bytes()
    with path.open("rb") as file:
        waveforms = [read_waveform(source) for source in (path, content, file, Pipe(content))]
    return [*waveforms, decode(content, 60.0, 8, 16_000)]


class TestUnfinishedHeader:
    @pytest.mark.parametrize("before", [b"", b"LIST" + struct.pack("<I", 8) + bytes(8)], ids=["", "chunk before"])
    @pytest.mark.parametrize("too_long", [-len(DATA), 8, 36, 44, "header", "header but 8"])
    def test_wav_is_read_to_its_end_with_a_warning(self, tmp_path, too_long, before):
        too_long = {"header": 44 + len(before), "header but 8": 36 + len(before)}.get(too_long, too_long)
        (path := tmp_path / "a.wav").write_bytes(wav(len(DATA) + too_long, before=before))
        with pytest.warns(UserWarning, match=r"bytes"):
            waveforms = everywhere(path)
        for waveform in waveforms:
            np.testing.assert_allclose(waveform, SAMPLES / 32768, atol=1e-6)

    @pytest.mark.parametrize("length", [0x7FFF0000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
    def test_unknown_length_is_no_reason_for_a_warning(self, length):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(read_waveform(wav(length))) == len(SAMPLES)

    @pytest.mark.parametrize("content", [wav(0, b""), wav(0, b"", after=LIST)])
    def test_empty_wav_is_no_unfinished_one(self, content):
        with pytest.raises(MediaError, match="zero samples"):
            read_waveform(content)

    @pytest.mark.parametrize("missing", [46, 200, 16_000])
    def test_truncated_wav_is_reported(self, missing):
        with pytest.raises(MediaError, match="truncated"):
            read_waveform(wav(len(DATA), DATA[:-missing]))

    def test_truncated_caf_is_reported(self):
        content = encoded(SAMPLES, format="CAF", subtype="PCM_16")
        assert len(read_waveform(content)) == len(SAMPLES)
        with pytest.raises(MediaError, match="truncated"):
            read_waveform(content[:-200])

    @pytest.mark.parametrize("format", ["AIFF", "W64", "RF64", "AU"])
    def test_other_formats(self, format):
        content = encoded(SAMPLES, format=format, subtype="PCM_16")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_allclose(read_waveform(content), SAMPLES / 32768, atol=1e-6)
        with pytest.warns(UserWarning, match="20 bytes more"):
            assert len(read_waveform(content[:-20])) == len(SAMPLES) - 10
        with pytest.raises(MediaError, match="truncated"):
            read_waveform(content[:-2000])


class TestMp3:
    @pytest.mark.parametrize("rate", [44_100, 48_000, 22_050])
    @pytest.mark.parametrize("options", [{}, {"abr": "1"}], ids=["constant", "variable"])
    def test_mp3_without_its_length_is_read_completely(self, tmp_path, rate, options):
        path = mp3(tmp_path / "a.mp3", rate=rate, **options)
        with av.open(str(path)) as container:
            seconds = sum(frame.samples for frame in container.decode(audio=0)) / rate
        assert seconds >= 3
        for waveform in everywhere(path):
            assert len(waveform) == pytest.approx(seconds * 16_000, abs=1)

    def test_layer_two(self, tmp_path):
        for waveform in everywhere(mp3(tmp_path / "a.mp2", "mp2")):
            assert len(waveform) / 16_000 == pytest.approx(3, abs=0.03)

    def test_text_in_a_tag_is_no_length(self, tmp_path):
        path = mp3(tmp_path / "a.mp3", abr="1")
        content = path.read_bytes()
        audio = content[10 + content[9] :]  # without the tag that FFmpeg writes
        path.write_bytes(b"ID3\x04\0\0\0\0\x08\0" + b"Info and Xing".ljust(1024, b" ") + audio)
        assert len(read_waveform(path)) / 16_000 == pytest.approx(3, abs=0.06)

    def test_tags_between_joined_files_are_skipped(self, tmp_path):
        content = mp3(tmp_path / "a.mp3").read_bytes()
        joined = content + b"TAG".ljust(128, b" ") + content
        assert len(read_waveform(joined)) / 16_000 == pytest.approx(6, abs=0.15)


class TestJoined:
    @pytest.mark.parametrize(
        "how", [{"format": "FLAC"}, {"format": "OGG", "subtype": "VORBIS"}, {"format": "OGG", "subtype": "OPUS"}]
    )
    def test_all_is_read_of_flac_and_chained_ogg(self, tmp_path, how):
        one, other = encoded(sine(440, 1.0, 48_000), 48_000, **how), encoded(sine(880, 0.5, 48_000), 48_000, **how)
        (path := tmp_path / "a.bin").write_bytes(one + other)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            waveforms = everywhere(path)
        for waveform in waveforms:
            assert len(waveform) / 16_000 == pytest.approx(1.5, abs=0.025)
            tones = [np.abs(np.fft.rfft(waveform[first : first + 4000])).argmax() * 4 for first in (6000, 18_000)]
            assert tones == [440, 880]

    @pytest.mark.parametrize("format", ["WAV", "AIFF", "RF64", "W64", "CAF", "AU"])
    def test_the_bytes_that_are_not_read_are_named(self, format):
        one, other = (encoded(sine(440, seconds, 16_000), format=format) for seconds in (1.0, 0.5))
        with pytest.warns(UserWarning, match=f"{len(other):,} bytes follow"):
            assert len(read_waveform(one + other)) == 16_000

    def test_samples_and_chunks_after_the_samples(self):
        with pytest.warns(UserWarning, match="32,000 bytes follow"):
            assert len(read_waveform(wav(len(DATA)) + DATA)) == len(SAMPLES)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for tail in (LIST, LIST * 500, b"\0", b"TAG".ljust(128, b" ")):
                assert len(read_waveform(wav(len(DATA), after=tail))) == len(SAMPLES)

    def test_other_sample_rate(self):
        joined = b"".join(encoded(sine(440, 0.5, rate), rate, format="FLAC") for rate in (16_000, 48_000))
        with pytest.raises(MediaError, match="change"):
            read_waveform(joined)

    def test_flac_of_unknown_length(self):
        content = bytearray(encoded(SAMPLES, format="FLAC"))
        content[21] &= 0xF0  # the number of samples in STREAMINFO, as an encoder writes it into a pipe
        content[22:26] = bytes(4)
        with open_sound(bytes(content)) as sound:
            assert sum(map(len, sound.blocks())) == len(SAMPLES)


def test_cover_art_does_not_delay_the_sound(tmp_path):
    path = write_video(tmp_path / "a.mp3", [], sound=sine(440, 0.5, 48_000), sound_codec="libmp3lame")
    plain = read_waveform(path)
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mp3"), "w") as container:
        sound = container.add_stream_from_template(source.streams.audio[0])
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(numbered_pictures(2)[1].copy(), format="rgb24")))
        container.mux(cover.encode(None))
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                container.mux(packet)
    with av.open(str(tmp_path / "b.mp3")) as container:
        assert container.streams.video
    assert len(read_waveform(tmp_path / "b.mp3")) == pytest.approx(len(plain), abs=1)
