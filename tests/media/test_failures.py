import struct
from pathlib import Path

import numpy as np
import pytest

from crossmodal.errors import ConfigError, MediaError
from crossmodal.media import probe_video, read_video_frames, read_waveform
from crossmodal.media.container import ffmpeg_errors
from tests.media.recordings import indices_of, numbered_pictures, sine, write_video, write_wav


def read_first_frame(path: Path) -> np.ndarray:
    return read_video_frames(path, [0.0])


class TestFailures:
    @pytest.mark.parametrize("read", [read_waveform, read_first_frame, probe_video])
    @pytest.mark.parametrize("name", ["a.wav", "a.mp4"])
    def test_missing_empty_or_text(self, tmp_path, read, name):
        path = tmp_path / name
        with pytest.raises(MediaError, match="exist"):
            read(path)
        path.touch()
        with pytest.raises(MediaError, match=r"empty \(0 bytes\)"):
            read(path)
        path.write_text("Not a sound, not a video: a page of text.\n" * 50)
        with pytest.raises(MediaError, match="not a sound") as caught:
            read(path)
        assert caught.value.path == path

    @pytest.mark.parametrize("keep", [0.1, 0.5, 0.998])
    @pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff", ".w64", ".rf64", ".au", ".mp3"])
    def test_truncated_sound(self, tmp_path, suffix, keep):
        path = write_wav(tmp_path / f"a{suffix}", np.random.default_rng(0).uniform(-0.5, 0.5, 64_000))
        path.write_bytes(
            path.read_bytes()[: int((0.9 if suffix == ".mp3" and keep > 0.9 else keep) * path.stat().st_size)]
        )
        for name, content in ((path.name, path.read_bytes()), ("a.raw", bytes(100))):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(MediaError, match=r"truncated|sound file"):
                read_waveform(tmp_path / name)

    @pytest.mark.parametrize("declared", [0x7FFFF000, 0xFFFFFFFF, None])
    def test_unknown_length_and_other_chunks_are_not_truncation(self, tmp_path, declared):
        path = write_wav(tmp_path / "a.wav", sine(440, 0.5, 16_000))
        content = bytearray(path.read_bytes())
        at = content.index(b"data")
        if declared is None:
            extra = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"  # an odd length is padded to an even one
            content = content[:at] + extra + content[at:] + extra
        else:
            content[4:8] = content[at + 4 : at + 8] = struct.pack("<I", declared)
        path.write_bytes(content)
        assert len(read_waveform(path)) == 8000

    @pytest.mark.parametrize("read", [read_first_frame, probe_video])
    def test_unknown_video_codec(self, tmp_path, read):
        path = write_video(tmp_path / "a.mp4", numbered_pictures())
        path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
        with pytest.raises(MediaError, match="codec"):
            read(path)

    def test_stream_that_the_header_does_not_list(self):
        with pytest.raises(MediaError, match="stream"), ffmpeg_errors("a.flv"):
            raise IndexError("list index out of range")  # from PyAV for an FLV with another stream in its middle

    @pytest.mark.parametrize(
        ("samples", "reason"),
        [
            ([0, np.nan, 0], "finite"),
            ([0, np.inf, 0], "finite"),
            ([0, 32767, 0], "32,767"),
            ([], "zero samples"),
            ([1], "zero samples"),  # less than a sample after resampling
        ],
    )
    def test_invalid_samples(self, tmp_path, samples, reason):
        with pytest.raises(MediaError, match=reason):
            read_waveform(write_wav(tmp_path / "a.wav", np.float32(samples), 48_000, subtype="FLOAT"))

    def test_missing_stream(self, tmp_path, quadrants):
        with pytest.raises(MediaError, match="sound stream"):
            read_waveform(quadrants)
        sound = write_video(tmp_path / "a.mp4", [], sound=sine(440, 0.5, 48_000))
        for read in (read_first_frame, probe_video):
            with pytest.raises(MediaError, match="video stream"):
                read(sound)

    @pytest.mark.parametrize("faststart", [True, False])
    @pytest.mark.parametrize("read", [read_waveform, read_first_frame, probe_video])
    def test_truncated_mp4(self, tmp_path, read, faststart):
        path = write_video(tmp_path / "a.mp4", numbered_pictures(), sound=sine(440, 1.4, 48_000), faststart=faststart)
        content = path.read_bytes()
        for keep in (0.5, 0.9, 0.999):
            path.write_bytes(content[: int(keep * len(content))])
            with pytest.raises(MediaError, match="truncated"):
                read(path)

    def test_trailing_bytes_of_an_mp4_are_ignored(self, tmp_path, numbered):
        path = tmp_path / "a.mp4"
        for tail in (bytes(3), bytes(40), b"a line of text after the last box"):
            path.write_bytes(numbered.read_bytes() + tail)
            assert indices_of(read_video_frames(path, [0.49])) == [14]

    def test_damaged_box_length(self, tmp_path, numbered):
        content = numbered.read_bytes()
        at = content.index(b"mdat") - 4
        (tmp_path / "a.mp4").write_bytes(content[:at] + b"\0\0\0\1mdat" + b"\xff" * 8 + content[at + 16 :])
        with pytest.raises(MediaError, match="truncated"):
            probe_video(tmp_path / "a.mp4")

    def test_truncated_container_without_sizes(self, tmp_path):
        path = write_video(tmp_path / "a.mkv", numbered_pictures(50).repeat(2, axis=0))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        with pytest.raises(MediaError, match=r"3\.34 s"):
            read_video_frames(path, [0.0, 3.3])

    def test_video_frames_that_do_not_decode(self, tmp_path, decoder):
        path = write_video(tmp_path / "a.mp4", numbered_pictures())
        content = bytearray(path.read_bytes())
        begin = content.index(b"mdat") + 4
        content[begin:] = bytes(len(content) - begin)
        path.write_bytes(content)
        with pytest.raises(MediaError, match=r"damaged|decode"):
            read_video_frames(path, [0.0, 1.0], decoder=decoder)

    @pytest.mark.parametrize("box", [(0.5, 0, 0.5, 1), (0, 0, 1.2, 1), (-0.1, 0, 1, 1), (0, 0.9, 1, 0.1)])
    def test_box_outside_the_picture(self, numbered, box):
        with pytest.raises(ConfigError, match="box"):
            read_video_frames(numbered, [0.0], box=box)

    def test_invalid_times(self, numbered, tmp_path):
        for seconds in ([], [np.nan], [[0.0]]):
            with pytest.raises(ConfigError, match="finite"):
                read_video_frames(numbered, seconds)
        path = write_wav(tmp_path / "a.wav", np.zeros(16_000))
        with pytest.raises(ConfigError, match="start"):
            read_waveform(path, start=-1.0)
        with pytest.raises(MediaError, match=r"2\.0 s"):  # beyond the end
            read_waveform(path, start=2.0)
