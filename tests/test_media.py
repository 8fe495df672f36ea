import struct
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import ConfigError, MediaError
from crossmodal.media import probe_video, read_video_frames, read_waveform

FRAME_RATE = Fraction(30000, 1001)
NUM_VIDEO_FRAMES = 40


def sine(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate)).astype("f4")


def write_video(path: Path, pictures, *, sound=None, delay=0, channels=1, codec="libx264", faststart=False) -> Path:
    """Write pictures at 30000/1001 Hz, and 48 kHz sound as AAC that starts `delay` samples late."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if faststart else {}) as container:
        if len(pictures):
            video = container.add_stream(codec, rate=FRAME_RATE, options={"crf": "10", "g": "12", "bf": "2"})
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt, video.bit_rate = "yuv420p", 4_000_000
        if sound is not None:
            layout = {1: "mono", 2: "stereo"}[channels]
            audio = container.add_stream("aac", rate=48_000, layout=layout)
            audio.bit_rate = 192_000
        for index, picture in enumerate(pictures):
            video_frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            video_frame.pts = index
            container.mux(video.encode(video_frame))
        if len(pictures):
            container.mux(video.encode(None))
        if sound is not None:
            for first in range(0, sound.shape[-1], 1024):
                part = np.ascontiguousarray(np.atleast_2d(sound)[:, first : first + 1024])
                audio_frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                audio_frame.sample_rate, audio_frame.pts = 48_000, first + delay
                container.mux(audio.encode(audio_frame))
            container.mux(audio.encode(None))
    return path


def numbered_pictures(count: int = NUM_VIDEO_FRAMES) -> np.ndarray:
    """Pictures of one grey each, 5 steps apart, so that a video frame tells its own index."""
    return np.broadcast_to(5 * np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 48, 64, 3))


def indices_of(video_frames: np.ndarray) -> list[int]:
    return np.rint(video_frames.mean(axis=(1, 2, 3)) / 5).astype(int).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def numbered(folder) -> Path:
    return write_video(folder / "numbered.mp4", numbered_pictures(), sound=sine(440, 1.4, 48_000))


@pytest.fixture(scope="module")
def quadrants(folder) -> Path:
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[:48, :64], picture[:48, 64:] = (200, 40, 40), (40, 200, 40)
    picture[48:, :64], picture[48:, 64:] = (40, 40, 200), (220, 220, 220)
    return write_video(folder / "quadrants.mp4", [picture] * 3)


@pytest.fixture
def without_decord(monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)


@pytest.fixture(params=["decord", "pyav"])
def decoder(request):
    if request.param == "decord":
        pytest.importorskip("decord")
    return request.param


def write_wav(path: Path, samples: np.ndarray, sample_rate: int = 16_000, **kwargs) -> Path:
    soundfile.write(path, samples, sample_rate, **kwargs)
    return path


class TestSound:
    def test_samples_are_those_of_the_file(self, tmp_path):
        expected = sine(440, 0.5, 16_000)
        waveform = read_waveform(write_wav(tmp_path / "a.wav", expected, subtype="FLOAT"))
        assert waveform.dtype == np.float32
        np.testing.assert_array_equal(waveform, expected)

    @pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
    def test_formats(self, tmp_path, suffix):
        path = write_wav(tmp_path / f"a{suffix}", sine(440, 0.5, 16_000))
        np.testing.assert_allclose(read_waveform(path), sine(440, 0.5, 16_000), atol=0.03)

    def test_stereo_is_averaged(self, tmp_path):
        left, right = sine(440, 0.2, 16_000), sine(660, 0.2, 16_000)
        path = write_wav(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT")
        np.testing.assert_allclose(read_waveform(path), (left + right) / 2, atol=1e-7)

    @pytest.mark.parametrize("sample_rate", [44_100, 48_000, 8_000])
    def test_resampled_sine_is_the_sine_at_the_new_rate(self, tmp_path, sample_rate):
        waveform = read_waveform(write_wav(tmp_path / "a.wav", sine(1000, 1.0, sample_rate), sample_rate))
        inside = slice(800, -800)  # the ends hear the filter start and stop
        assert len(waveform) == 16_000
        np.testing.assert_allclose(waveform[inside], sine(1000, 1.0, 16_000)[inside], atol=1e-3)

    def test_resampling_removes_what_the_new_rate_cannot_hold(self, tmp_path):
        waveform = read_waveform(write_wav(tmp_path / "a.wav", sine(12_000, 1.0, 48_000), 48_000))
        assert np.abs(waveform[800:-800]).max() < 1e-3

    def test_start_leaves_out_the_beginning(self, tmp_path):
        samples = sine(440, 1.0, 16_000)
        path = write_wav(tmp_path / "a.wav", samples, subtype="FLOAT")
        np.testing.assert_array_equal(read_waveform(path, start=0.25), samples[4000:])

    def test_overshoot_is_clipped(self, tmp_path):
        path = write_wav(tmp_path / "a.wav", np.float32([0.5, 1.5, -2.0]), subtype="FLOAT")
        np.testing.assert_array_equal(read_waveform(path), np.float32([0.5, 1.0, -1.0]))

    @settings(max_examples=60, deadline=None)
    @given(
        length=st.integers(4, 5000),
        channels=st.integers(1, 3),
        gain=st.floats(0, 1),
        sample_rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000]),
        seed=st.integers(0, 99),
    )
    def test_any_sound_keeps_its_duration_and_range(self, folder, length, channels, gain, sample_rate, seed):
        samples = gain * np.random.default_rng(seed).uniform(-1, 1, (length, channels))
        waveform = read_waveform(write_wav(folder / "any.wav", samples, sample_rate))
        assert waveform.ndim == 1
        assert waveform.dtype == np.float32
        assert np.isfinite(waveform).all()
        assert np.abs(waveform).max() <= 1
        assert abs(len(waveform) - round(length * 16_000 / sample_rate)) <= 1


class TestSoundOfVideo:
    def test_is_the_sound_that_was_put_in(self, numbered):
        waveform = read_waveform(numbered, 48_000)
        expected = sine(440, 1.4, 48_000)
        np.testing.assert_allclose(waveform[4800:60_000], expected[4800:60_000], atol=0.02)

    def test_channels_are_averaged(self, tmp_path):
        # Were the sum scaled for equal power, as FFmpeg does, the peak would be 0.35 and not 0.25.
        sound = np.stack([sine(440, 1.0, 48_000), np.zeros(48_000, np.float32)])
        waveform = read_waveform(write_video(tmp_path / "a.m4a", [], sound=sound, channels=2))
        assert np.abs(waveform[4000:12_000]).max() == pytest.approx(0.25, abs=0.01)

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
    def test_delay_is_honoured(self, tmp_path, suffix):
        sound = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
        late = read_waveform(
            write_video(tmp_path / f"late{suffix}", numbered_pictures(), sound=sound, delay=9600), 48_000
        )
        lag = np.correlate(late, sound, "valid").argmax()
        assert abs(lag - 9600) <= 48  # Matroska counts in milliseconds
        assert np.abs(late[:8000]).max() < 0.01

    def test_start_cuts_the_delay(self, tmp_path):
        path = write_video(tmp_path / "a.mp4", numbered_pictures(5), sound=sine(440, 0.5, 48_000), delay=4800)
        np.testing.assert_array_equal(read_waveform(path, 48_000, start=0.1), read_waveform(path, 48_000)[4800:])

    def test_broken_delay(self, tmp_path):
        sound = sine(440, 0.1, 48_000)
        path = write_video(tmp_path / "a.mkv", numbered_pictures(5), sound=sound, delay=48_000 * 90_000)
        with pytest.raises(MediaError, match="its sound starts at 90,000 s"):
            read_waveform(path)


class TestVideo:
    def test_probe(self, numbered, quadrants):
        info = probe_video(numbered)
        assert info.frame_rate == pytest.approx(30000 / 1001)
        assert (info.num_video_frames, info.width, info.height, info.has_sound) == (NUM_VIDEO_FRAMES, 64, 48, True)
        assert info.duration == pytest.approx(NUM_VIDEO_FRAMES * 1001 / 30000)
        assert not probe_video(quadrants).has_sound

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    def test_one_picture_is_a_video(self, tmp_path, suffix):
        path = write_video(tmp_path / f"a{suffix}", numbered_pictures(5)[4:])
        assert probe_video(path).num_video_frames == 1
        assert indices_of(read_video_frames(path, [0.0, 1.0])) == [4, 4]

    def test_every_video_frame_at_its_time(self, numbered, decoder):
        starts = np.arange(NUM_VIDEO_FRAMES) * 1001 / 30000
        video_frames = read_video_frames(numbered, starts, decoder=decoder)
        assert video_frames.shape == (NUM_VIDEO_FRAMES, 3, 48, 64)
        assert video_frames.dtype == np.uint8
        assert video_frames.flags.c_contiguous
        assert indices_of(video_frames) == list(range(NUM_VIDEO_FRAMES))

    @settings(max_examples=25, deadline=None)
    @given(seconds=st.lists(st.floats(-1, 3), min_size=1, max_size=6))
    def test_decoders_agree_at_any_instants(self, numbered, seconds):
        pytest.importorskip("decord")
        by_decord = read_video_frames(numbered, seconds, decoder="decord")
        by_pyav = read_video_frames(numbered, seconds, decoder="pyav")
        np.testing.assert_array_equal(by_decord, by_pyav)
        expected = [min(max(int((s + 6e-4) * 30000 / 1001), 0), NUM_VIDEO_FRAMES - 1) for s in seconds]
        assert indices_of(by_pyav) == expected

    def test_order_and_repetition_are_kept(self, numbered, decoder):
        assert indices_of(read_video_frames(numbered, [1.0, 0.0, 1.0, 0.49], decoder=decoder)) == [29, 0, 29, 14]

    def test_beyond_the_ends(self, numbered, decoder):
        assert indices_of(read_video_frames(numbered, [-5, 1e6], decoder=decoder)) == [0, NUM_VIDEO_FRAMES - 1]

    @pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.flv", "a.mov"])
    def test_other_containers(self, tmp_path, name):
        # decord numbers the video frames of some of these otherwise; then `auto` must not believe it.
        path = write_video(tmp_path / name, numbered_pictures(), codec="mpeg4" if name == "a.avi" else "libx264")
        with av.open(str(path)) as container:
            first = next(container.decode(video=0)).time
        instants = first + np.array([0, 7, 23, 39]) * 1001 / 30000
        assert indices_of(read_video_frames(path, instants)) == [0, 7, 23, 39]

    @pytest.mark.parametrize(
        ("box", "colour"),
        [
            ((0.0, 0.0, 0.5, 0.5), (200, 40, 40)),
            ((0.5, 0.0, 1.0, 0.5), (40, 200, 40)),
            ((0.0, 0.5, 0.5, 1.0), (40, 40, 200)),
            ((0.5, 0.5, 1.0, 1.0), (220, 220, 220)),
        ],
    )
    @pytest.mark.parametrize("size", [None, 16])
    def test_box(self, quadrants, decoder, box, colour, size):
        (crop,) = read_video_frames(quadrants, [0], box=box, size=size, decoder=decoder)
        assert crop.shape == ((3, 48, 64) if size is None else (3, 16, 16))
        inside = crop[:, 2:-2, 2:-2].astype(int)  # chroma is shared by 2 x 2 pixels: borders blend
        assert np.abs(inside - np.array(colour)[:, None, None]).max() <= 6

    def test_box_borders_are_exact(self, quadrants):
        # 24 of the 64 columns left of the middle, 40 of the 64 right of it, in pixels of 1/8: the edge is at 3/8.
        (crop,) = read_video_frames(quadrants, [0], box=(40 / 128, 0, 104 / 128, 0.5), size=64)
        edge = np.abs(np.diff(crop[1].astype(int).mean(axis=0))).argmax()
        assert edge == 23

    def test_resize_is_antialiased(self, tmp_path):
        stripes = np.zeros((64, 64, 3), np.uint8)
        stripes[:, ::2] = 255
        (crop,) = read_video_frames(write_video(tmp_path / "a.mp4", [stripes] * 2), [0], size=8)
        assert crop.std() < 3

    def test_without_decord_pyav_does_it(self, numbered, without_decord):
        assert indices_of(read_video_frames(numbered, [0.49])) == [14]

    def test_without_decord_asking_for_it_says_so(self, numbered, without_decord):
        with pytest.raises(MediaError, match="decord is not installed here"):
            read_video_frames(numbered, [0.5], decoder="decord")

    def test_where_decord_fails_pyav_does_it(self, numbered, monkeypatch):
        decord = pytest.importorskip("decord")

        def fail(*args, **kwargs):
            raise decord.DECORDError("no")

        monkeypatch.setattr(decord, "VideoReader", fail)
        assert indices_of(read_video_frames(numbered, [0.49])) == [14]
        with pytest.raises(MediaError, match="decord cannot decode it"):
            read_video_frames(numbered, [0.5], decoder="decord")


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
