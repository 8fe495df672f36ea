import struct
import sys

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import MediaError
from crossmodal.media import probe_video, read_video_frames, video
from tests.media.recordings import NUM_VIDEO_FRAMES, indices_of, numbered_pictures, write_video


class TestVideo:
    def test_probe(self, numbered, quadrants):
        info = probe_video(numbered)
        assert info.frame_rate == pytest.approx(30000 / 1001)
        assert (info.num_video_frames, info.width, info.height, info.has_sound) == (NUM_VIDEO_FRAMES, 64, 48, True)
        assert info.duration == pytest.approx(NUM_VIDEO_FRAMES * 1001 / 30000)
        assert not probe_video(quadrants).has_sound

    def test_every_video_frame_at_its_time(self, numbered, decoder):
        starts = np.arange(NUM_VIDEO_FRAMES) * 1001 / 30000
        video_frames = read_video_frames(numbered, starts, decoder=decoder)
        assert video_frames.shape == (NUM_VIDEO_FRAMES, 3, 48, 64)
        assert video_frames.dtype == np.uint8
        assert video_frames.flags.c_contiguous
        assert indices_of(video_frames) == list(range(NUM_VIDEO_FRAMES))

    @settings(max_examples=25, deadline=None)
    @given(seconds=st.lists(st.floats(-1, 3), min_size=1, max_size=6))
    def test_decoders_agree_at_any_times(self, numbered, seconds):
        pytest.importorskip("decord")
        by_decord = read_video_frames(numbered, seconds, decoder="decord")
        by_pyav = read_video_frames(numbered, seconds, decoder="pyav")
        np.testing.assert_array_equal(by_decord, by_pyav)
        expected = [min(max(int((s + 6e-4) * 30000 / 1001), 0), NUM_VIDEO_FRAMES - 1) for s in seconds]
        assert indices_of(by_pyav) == expected

    def test_order_and_repetition_are_kept_and_times_may_be_outside(self, numbered, decoder, tmp_path):
        assert indices_of(read_video_frames(numbered, [-5, 1e6], decoder=decoder)) == [0, NUM_VIDEO_FRAMES - 1]
        for suffix in (".mp4", ".mkv"):
            path = write_video(tmp_path / f"one{suffix}", numbered_pictures(5)[4:])
            assert probe_video(path).num_video_frames == 1
            assert indices_of(read_video_frames(path, [0.0, 1.0])) == [4, 4]
        assert indices_of(read_video_frames(numbered, [1.0, 0.0, 1.0, 0.49], decoder=decoder)) == [29, 0, 29, 14]

    @pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.flv", "a.mov"])
    def test_other_containers(self, tmp_path, name):
        # decord numbers the video frames of some of these differently.
        path = write_video(tmp_path / name, numbered_pictures(), codec="mpeg4" if name == "a.avi" else "libx264")
        instants = np.array([0, 7, 23, 39]) * 1001 / 30000
        for decoder in ("pyav", "auto"):
            assert indices_of(read_video_frames(path, instants, decoder=decoder)) == [0, 7, 23, 39]

    @pytest.mark.parametrize(
        ("left", "top", "colour"),
        [(0, 0, (200, 40, 40)), (0.5, 0, (40, 200, 40)), (0, 0.5, (40, 40, 200)), (0.5, 0.5, (220, 220, 220))],
    )
    @pytest.mark.parametrize("size", [None, 16])
    def test_box(self, quadrants, decoder, left, top, colour, size):
        box = (left, top, left + 0.5, top + 0.5)
        (crop,) = read_video_frames(quadrants, [0], box=box, size=size, decoder=decoder)
        assert crop.shape == ((3, 48, 64) if size is None else (3, 16, 16))
        inside = crop[:, 2:-2, 2:-2].astype(int)  # chroma subsampling blurs the borders
        assert np.abs(inside - np.array(colour)[:, None, None]).max() <= 6

    def test_box_borders_are_exact_and_resizing_is_antialiased(self, quadrants, tmp_path):
        # The box has 24 columns left of the middle and 40 right of it, so the edge is at 3/8 of the crop.
        (crop,) = read_video_frames(quadrants, [0], box=(40 / 128, 0, 104 / 128, 0.5), size=64)
        edge = np.abs(np.diff(crop[1].astype(int).mean(axis=0))).argmax()
        assert edge == 23
        stripes = np.zeros((64, 64, 3), np.uint8)
        stripes[:, ::2] = 255
        (crop,) = read_video_frames(write_video(tmp_path / "a.mp4", [stripes] * 2), [0], size=8)
        assert crop.std() < 3

    def test_decord_that_is_not_installed(self, numbered, monkeypatch):
        monkeypatch.setitem(sys.modules, "decord", None)
        assert indices_of(read_video_frames(numbered, [0.49], decoder="auto")) == [14]
        with pytest.raises(MediaError, match="not installed"):
            read_video_frames(numbered, [0.5], decoder="decord")

    def test_decord_that_fails(self, numbered, monkeypatch):
        decord = pytest.importorskip("decord")
        read = decord.VideoReader.__getitem__

        def fail(reader, number):
            if number > 10:
                raise decord.DECORDError("no")
            return read(reader, number)

        monkeypatch.setattr(decord.VideoReader, "__getitem__", fail)
        assert indices_of(read_video_frames(numbered, [0.1, 0.49, 0.1], decoder="auto")) == [3, 14, 3]
        with pytest.raises(MediaError, match="decord"):
            read_video_frames(numbered, [0.1, 0.49], decoder="decord")

    @pytest.mark.parametrize(
        ("name", "codec", "options"),
        [("a.mp4", "libx264", {"x264-params": "open-gop=1:keyint=10"}), ("a.asf", "wmv2", {"g": "12"})],
    )
    def test_videos_in_which_decord_does_not_find_video_frames(self, tmp_path, name, codec, options):
        path = write_video(tmp_path / name, numbered_pictures(), codec=codec, options=options)
        chosen = np.arange(1, NUM_VIDEO_FRAMES, 3)
        instants = 0.001 + chosen * 1001 / 30000
        assert indices_of(read_video_frames(path, instants, decoder="auto")) == chosen.tolist()
        with pytest.raises(MediaError, match="decord"):
            read_video_frames(path, instants, decoder="decord")

    @pytest.mark.parametrize(
        ("matrix", "corner", "shape"),
        [((0, 1, -1, 0), (1, 0), (128, 96)), ((-1, 0, 0, -1), (1, 1), (96, 128)), ((0, -1, 1, 0), (0, 1), (128, 96))],
    )
    def test_recordings_of_a_turned_phone_are_upright(self, quadrants, tmp_path, decoder, matrix, corner, shape):
        content = bytearray(quadrants.read_bytes())
        place = content.index(b"tkhd") + 44  # of the display matrix, in 16.16 fixed point
        a, b, c, d = (number << 16 for number in matrix)
        content[place : place + 20] = struct.pack(">5i", a, b, 0, c, d)
        path = tmp_path / "turned.mp4"
        path.write_bytes(content)
        info = probe_video(path)
        assert (info.height, info.width) == shape
        (picture,) = read_video_frames(path, [0], decoder=decoder)
        assert picture.shape == (3, *shape)
        right, down = corner  # of the red quadrant, which is stored at the top left
        quadrant = picture[:, down * shape[0] // 2 :, right * shape[1] // 2 :]
        red = quadrant[:, 4 : shape[0] // 2 - 4, 4 : shape[1] // 2 - 4]
        assert np.abs(red.astype(int) - np.array([200, 40, 40])[:, None, None]).max() <= 6

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
    def test_late_video_frames_are_decoded_from_a_keyframe(self, tmp_path, suffix, monkeypatch):
        pictures = np.resize(numbered_pictures(50), (360, 48, 64, 3))
        codec = "mpeg4" if suffix == ".avi" else "libx264"
        path = write_video(tmp_path / f"a{suffix}", pictures, codec=codec)
        decode, starts = video._decode_with_pyav, []

        def watch(path, start, *args):
            starts.append(start)
            return decode(path, start, *args)

        monkeypatch.setattr(video, "_decode_with_pyav", watch)
        late = np.arange(250, 360, 7)
        with av.open(str(path)) as container:
            first = next(container.decode(video=0)).time
        instants = late * 1001 / 30000
        assert indices_of(read_video_frames(path, instants, decoder="pyav")) == (late % 50).tolist()
        assert starts == [pytest.approx(first + instants[0] - 1, abs=0.02)]

    def test_wrong_keyframe_index_decodes_from_the_beginning(self, tmp_path, monkeypatch):
        path = write_video(tmp_path / "a.mp4", np.resize(numbered_pictures(50), (240, 48, 64, 3)))
        monkeypatch.setattr(video, "_SEEK_AFTER", 1.0)
        decode = video._decode_with_pyav
        monkeypatch.setattr(video, "_decode_with_pyav", lambda path, start, *args: decode(path, start and 7.9, *args))
        assert indices_of(read_video_frames(path, [2.0, 3.0], decoder="pyav")) == [9, 39]

    def test_damaged_video_frames_are_reported(self, tmp_path):
        rng = np.random.default_rng(0)
        path = write_video(tmp_path / "a.mp4", rng.integers(0, 255, (24, 96, 128, 3), np.uint8))
        content = bytearray(path.read_bytes())
        begin, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
        for position in rng.choice(np.arange(begin, end), 200, replace=False):
            content[position] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        with pytest.raises(MediaError, match="damaged"):
            read_video_frames(path, [0.4, 0.7], decoder="pyav")
