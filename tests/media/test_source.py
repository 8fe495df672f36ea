import io
import os
import threading
import tracemalloc
from contextlib import ExitStack

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.errors import MediaError
from crossmodal.media import open_sound, read_waveform
from crossmodal.media.sound import _open_with_pyav
from tests.media.recordings import numbered_pictures, sine, write_video, write_wav


@pytest.fixture(scope="module")
def sounds(folder):
    """The same second of sound in several formats."""
    samples = sine(440, 1.0, 48_000)
    paths = [write_wav(folder / f"sound{suffix}", samples, 48_000) for suffix in (".wav", ".flac", ".ogg", ".mp3")]
    videos = [
        write_video(folder / f"sound{suffix}", numbered_pictures(30), sound=samples) for suffix in (".mp4", ".mkv")
    ]
    return {path.suffix: path for path in [*paths, *videos]}


class Pipe(io.RawIOBase):
    """A stream that is not seekable, such as standard input."""

    def __init__(self, content: bytes) -> None:
        self.content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self.content.read(size)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".mp4", ".mkv"])
def test_bytes_files_and_pipes_are_read_like_paths(sounds, suffix):
    path = sounds[suffix]
    expected = read_waveform(path)
    content = path.read_bytes()
    for source in (str(path), content, bytearray(content), io.BytesIO(content), Pipe(content)):
        np.testing.assert_array_equal(read_waveform(source), expected)
    with path.open("rb") as file:
        file.seek(77)  # reading starts at the beginning, not at the current position
        np.testing.assert_array_equal(read_waveform(file), expected)
        assert not file.closed


def test_a_real_pipe(sounds):
    content = sounds[".wav"].read_bytes()
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as end:
            end.write(content)

    with os.fdopen(reading, "rb") as pipe:
        writer = threading.Thread(target=write)
        writer.start()
        np.testing.assert_array_equal(read_waveform(pipe), read_waveform(content))
        writer.join()


def test_wrong_suffix_is_ignored(sounds, tmp_path):
    for suffix, path in sounds.items():
        renamed = tmp_path / f"a{'.mp4' if suffix == '.wav' else '.wav'}"
        renamed.write_bytes(path.read_bytes())
        np.testing.assert_allclose(read_waveform(renamed), read_waveform(path), atol=1e-6)


def test_format_that_only_ffmpeg_supports(tmp_path):
    path = tmp_path / "a.ac3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ac3", rate=48_000, layout="mono")
        samples = sine(440, 1.0, 48_000)
        for first in range(0, len(samples), 1536):
            frame = av.AudioFrame.from_ndarray(samples[None, first : first + 1536], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_sound(path) as sound:
        assert (sound.sample_rate, sound.channels) == (48_000, 1)
    assert np.abs(read_waveform(path)).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: f"ffconcat version 1.0\nfile '{path}'\n",
        lambda path: f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nfile://{path}\n#EXT-X-ENDLIST\n",
        lambda path: f"#EXTM3U\n#EXTINF:1,\n{path.name}\n#EXT-X-ENDLIST\n",
    ],
    ids=["concat", "hls of an address", "hls of a name"],
)
@pytest.mark.parametrize("name", ["list.wav", "list.mp4", "list.m3u8", "list.txt"])
def test_playlist_is_rejected(sounds, folder, make, name):
    path = folder / name
    path.write_text(make(sounds[".mp4"]))
    for source in (path, path.read_bytes()):
        with pytest.raises(MediaError, match=r"not a sound"):
            read_waveform(source)


class TestHeader:
    def test_declared_length_allocates_no_memory(self, tmp_path):
        path = tmp_path / "a.flac"
        soundfile.write(path, sine(440, 0.5, 16_000), 16_000)
        content = bytearray(path.read_bytes())
        # The number of samples in STREAMINFO: 36 bits that end at byte 26.
        content[22:26] = (36_000 * 16_000).to_bytes(4, "big")
        path.write_bytes(content)
        tracemalloc.start()
        for source in (path, bytes(content)):
            with pytest.raises(MediaError, match=r"truncated|damaged"):
                read_waveform(source)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5e6  # bytes; ten hours would be 2.3e9

    @pytest.mark.parametrize(
        ("channels", "sample_rate", "reason"),
        [
            (1, 1, "rate is 1 Hz"),
            (1, 999, "rate is 999 Hz"),
            (1, 800_000, "rate is 800,000 Hz"),
            (300, 16_000, "300 .* 64"),
        ],
    )
    def test_invalid_header(self, channels, sample_rate, reason):
        file = io.BytesIO()
        soundfile.write(file, np.zeros((100, channels)), sample_rate, format="WAV")
        with pytest.raises(MediaError, match=reason):
            read_waveform(file.getvalue())

    @pytest.mark.parametrize("channels", [9, 24, 64])
    def test_more_channels_than_ffmpeg_has_planes(self, channels):
        file = io.BytesIO()
        samples = np.random.default_rng(0).uniform(-1, 1, (1000, channels)).astype(np.float32)
        soundfile.write(file, samples, 16_000, format="WAV", subtype="FLOAT")
        content = file.getvalue()
        np.testing.assert_allclose(read_waveform(content), samples.mean(axis=1), atol=1e-6)
        with ExitStack() as stack:
            opened = _open_with_pyav("bytes", io.BytesIO(content), stack)
            np.testing.assert_allclose(np.concatenate(list(opened.blocks())), samples.mean(axis=1), atol=1e-6)


class TestBlocks:
    @pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".mp4", ".mkv", "late"])
    def test_concatenation_is_the_waveform(self, sounds, folder, suffix):
        path = sounds.get(suffix) or folder / "late.mkv"
        if suffix == "late":
            write_video(path, numbered_pictures(30), sound=sine(440, 0.5, 48_000), delay=48_000 * 20)
        with open_sound(path) as sound:
            assert (sound.sample_rate, sound.channels) == (48_000, 1)  # known before decoding
            blocks = list(sound.blocks())
        assert all(block.dtype == np.float32 and block.ndim == 1 and len(block) <= 65_536 for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), read_waveform(path, 48_000))
        assert sum(map(len, blocks)) == pytest.approx(48_000 * (20.5 if suffix == "late" else 1), abs=5000)

    def test_decoding_stops_at_the_maximum_duration(self, folder, monkeypatch):
        decoded = []
        read = soundfile.SoundFile.read
        monkeypatch.setattr(soundfile.SoundFile, "read", lambda *args, **how: decoded.append(1) or read(*args, **how))
        path = write_wav(folder / "long.wav", np.zeros(2_000_000, np.float32))
        with pytest.raises(MediaError, match="5 s"):
            read_waveform(path, longest=5.0)
        assert len(decoded) == 2

    @pytest.mark.parametrize("place", [0, 70_000, 99_999])
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_non_finite_samples_are_found_in_any_block(self, folder, place, bad):
        samples = np.zeros(100_000, np.float32)
        samples[place] = bad
        with pytest.raises(MediaError, match="finite"):
            read_waveform(write_wav(folder / "nan.wav", samples, subtype="FLOAT"))


@given(st.data())
def test_any_and_damaged_bytes_give_a_waveform_or_a_media_error(sounds, data):
    content = bytearray(data.draw(st.binary(max_size=300)))
    if data.draw(st.booleans()):
        content = bytearray(sounds[data.draw(st.sampled_from([".wav", ".flac", ".ogg", ".mp4", ".mkv"]))].read_bytes())
        for place in data.draw(st.lists(st.integers(0, 400), max_size=8)):
            content[place] = data.draw(st.integers(0, 255))
    try:
        waveform = read_waveform(bytes(content), longest=10)
    except MediaError as error:
        assert str(error).startswith("bytes: ")
    else:
        assert np.abs(waveform).max() <= 1  # False for NaN


def test_error_names_its_source(folder):
    path = folder / "text.wav"
    path.write_text("a page of text " * 10)
    content = path.read_bytes()
    with path.open("rb") as file:
        for source, name in ((path, path), (content, "bytes"), (io.BytesIO(content), "file object"), (file, path)):
            with pytest.raises(MediaError, match=r"not a sound") as caught:
                read_waveform(source)
            assert str(caught.value).startswith(f"{name}: ")
    with pytest.raises(MediaError, match="not a file"):
        read_waveform(folder)
    if os.name == "posix" and os.geteuid():  # root can read every file
        path.chmod(0)
        with pytest.raises(MediaError, match="Permission denied"):
            read_waveform(path)
