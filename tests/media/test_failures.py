import struct
from pathlib import Path

import numpy as np
import pytest

from crossmodal.errors import ConfigError, MediaError
from crossmodal.media import probe_video, read_video_frames, read_waveform
from crossmodal.media.container import ffmpeg_errors
from tests.media.recordings import (
    indices_of,
    numbered_pictures,
    sine,
    write_video,
    write_wav,
)


def read_first_frame(path: Path) -> np.ndarray:
    return read_video_frames(path, [0.0])


class TestFailures:
    @pytest.mark.parametrize("read", [read_waveform, read_first_frame, probe_video])
    @pytest.mark.parametrize("name", ["a.wav", "a.mp4"])
    def test_missing_empty_or_text(self, tmp_path, read, name):
        path = tmp_path / name
        with pytest.raises(MediaError, match="there is no such file"):
            read(path)
        path.touch()
        with pytest.raises(MediaError, match=r"empty \(0 bytes\)"):
            read(path)
        path.write_text("Not a sound, not a video: a page of text.\n" * 50)
        with pytest.raises(MediaError, match="not a sound") as caught:
            read(path)
        assert caught.value.path == path

    @pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
    @pytest.mark.parametrize("suffix", [".wav", ".flac"])
    def test_cut_sound(self, tmp_path, suffix, keep):
        path = write_wav(tmp_path / f"a{suffix}", np.random.default_rng(0).uniform(-1, 1, 16_000))
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
        with pytest.raises(MediaError, match=r"cut|not a sound file"):
            read_waveform(path)

    def test_cut_wav_names_the_bytes(self, tmp_path):
        path = write_wav(tmp_path / "a.wav", sine(440, 1.0, 16_000))
        path.write_bytes(path.read_bytes()[:16_000])
        with pytest.raises(MediaError, match=r"cut: it should have 32,044 bytes or more and has 16,000"):
            read_waveform(path)

    @pytest.mark.parametrize("declared", [0x7FFFF000, 0xFFFFFFFF])
    def test_length_that_a_pipe_could_not_know_is_no_cut(self, tmp_path, declared):
        path = write_wav(tmp_path / "a.wav", sine(440, 0.5, 16_000))
        content = bytearray(path.read_bytes())
        at = content.index(b"data") + 4
        content[4:8] = content[at : at + 4] = struct.pack("<I", declared)
        path.write_bytes(content)
        assert len(read_waveform(path)) == 8000

    def test_other_chunks_are_no_cut(self, tmp_path):
        path = write_wav(tmp_path / "a.wav", sine(440, 0.5, 16_000))
        content = path.read_bytes()
        extra = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"  # an odd length is padded to an even one
        at = content.index(b"data")
        path.write_bytes(content[:at] + extra + content[at:] + extra)
        assert len(read_waveform(path)) == 8000

    def test_no_samples(self, tmp_path):
        with pytest.raises(MediaError, match=r"no sound \(zero samples\)"):
            read_waveform(write_wav(tmp_path / "a.wav", np.zeros(0)))

    def test_less_than_a_sample_at_the_rate_that_is_wanted(self, tmp_path):
        with pytest.raises(MediaError, match=r"no sound \(zero samples\)"):
            read_waveform(write_wav(tmp_path / "a.wav", np.ones(1), 48_000))

    @pytest.mark.parametrize("read", [read_first_frame, probe_video])
    def test_pictures_of_an_unknown_codec(self, tmp_path, read):
        path = write_video(tmp_path / "a.mp4", numbered_pictures())
        path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
        with pytest.raises(MediaError, match="its pictures are coded in a way that is not known here"):
            read(path)

    def test_a_stream_that_begins_in_the_middle(self):
        with pytest.raises(MediaError, match="another stream begins in its middle"), ffmpeg_errors("a.flv"):
            raise IndexError("list index out of range")  # PyAV's, of an FLV with more streams than at its beginning

    def test_start_beyond_the_end(self, tmp_path):
        with pytest.raises(MediaError, match=r"no sound after 2.0 s"):
            read_waveform(write_wav(tmp_path / "a.wav", np.zeros(16_000)), start=2.0)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, tmp_path, bad):
        with pytest.raises(MediaError, match="not finite"):
            read_waveform(write_wav(tmp_path / "a.wav", np.float32([0, bad, 0]), subtype="FLOAT"))

    def test_samples_on_another_scale(self, tmp_path):
        with pytest.raises(MediaError, match="reach 32,767 where full scale is 1"):
            read_waveform(write_wav(tmp_path / "a.wav", np.float32([0, 32767, 0]), subtype="FLOAT"))

    def test_headerless_sound(self, tmp_path):
        (tmp_path / "a.raw").write_bytes(bytes(100))
        with pytest.raises(MediaError, match="not a sound file"):
            read_waveform(tmp_path / "a.raw")

    def test_no_such_stream(self, tmp_path, quadrants):
        with pytest.raises(MediaError, match="no sound stream"):
            read_waveform(quadrants)
        sound = write_video(tmp_path / "a.mp4", [], sound=sine(440, 0.5, 48_000))
        for read in (read_first_frame, probe_video):
            with pytest.raises(MediaError, match="no video stream"):
                read(sound)

    @pytest.mark.parametrize("faststart", [True, False])
    @pytest.mark.parametrize("read", [read_waveform, read_first_frame, probe_video])
    def test_cut_mp4(self, tmp_path, read, faststart):
        path = write_video(tmp_path / "a.mp4", numbered_pictures(), sound=sine(440, 1.4, 48_000), faststart=faststart)
        content = path.read_bytes()
        for keep in (0.5, 0.9, 0.999):
            path.write_bytes(content[: int(keep * len(content))])
            with pytest.raises(MediaError, match="the file is cut"):
                read(path)

    def test_mp4_with_a_tail_is_no_cut(self, tmp_path, numbered):
        path = tmp_path / "a.mp4"
        for tail in (bytes(3), bytes(40), b"a line of text after the last box"):
            path.write_bytes(numbered.read_bytes() + tail)
            assert indices_of(read_video_frames(path, [0.49])) == [14]

    def test_damaged_box_length(self, tmp_path, numbered):
        content = numbered.read_bytes()
        at = content.index(b"mdat") - 4
        (tmp_path / "a.mp4").write_bytes(content[:at] + b"\0\0\0\1mdat" + b"\xff" * 8 + content[at + 16 :])
        with pytest.raises(MediaError, match="the file is cut"):
            probe_video(tmp_path / "a.mp4")

    def test_cut_in_a_container_that_does_not_tell(self, tmp_path):
        path = write_video(tmp_path / "a.mkv", numbered_pictures(50).repeat(2, axis=0))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        with pytest.raises(MediaError, match=r"pictures end at .* of 3.34 s; the file may be cut"):
            read_video_frames(path, [0.0, 3.3])

    def test_pictures_that_do_not_decode(self, tmp_path, decoder):
        path = write_video(tmp_path / "a.mp4", numbered_pictures())
        content = bytearray(path.read_bytes())
        begin = content.index(b"mdat") + 4
        content[begin:] = bytes(len(content) - begin)
        path.write_bytes(content)
        with pytest.raises(MediaError, match=r"damaged|decord cannot decode it"):
            read_video_frames(path, [0.0, 1.0], decoder=decoder)

    @pytest.mark.parametrize("seconds", [[], [np.nan], [[0.0]]])
    def test_instants_that_are_none(self, numbered, seconds):
        with pytest.raises(ConfigError, match="one or more finite numbers"):
            read_video_frames(numbered, seconds)

    @pytest.mark.parametrize("box", [(0.5, 0, 0.5, 1), (0, 0, 1.2, 1), (-0.1, 0, 1, 1), (0, 0.9, 1, 0.1)])
    def test_box_outside_the_picture(self, numbered, box):
        with pytest.raises(ConfigError, match="left < right and top < bottom"):
            read_video_frames(numbered, [0.0], box=box)

    def test_negative_start(self, tmp_path):
        with pytest.raises(ConfigError, match="0 or more seconds"):
            read_waveform(tmp_path / "a.wav", start=-1.0)
