import io
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import ConfigError, MediaError
from crossmodal.inference import SILENCE
from tests.inference.fake_model import fake_recognizer

RATES = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]


def sound(seconds: float, sample_rate: int = 16_000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Create noise with a varying level and a pause, (channels, T)."""
    generator = np.random.default_rng(seed)
    samples = generator.uniform(-0.5, 0.5, (channels, round(seconds * sample_rate)))
    samples *= np.sin(np.linspace(0.3, 9, samples.shape[1])) ** 2
    samples[:, round(0.6 * samples.shape[1]) : round(0.8 * samples.shape[1])] = 0
    return samples.astype(np.float32)


def cut(samples: np.ndarray, places: list[float]) -> list[np.ndarray]:
    return np.split(samples, sorted(round(place * samples.shape[-1]) for place in places), axis=-1)


def stream_over(chunks, sample_rate=None, **settings):
    stream = fake_recognizer().stream(sample_rate, **settings)
    windows = [window for chunk in chunks for window in stream.feed(chunk)]
    return windows + stream.finish()


def spans(windows):
    return [(window.start, window.end) for window in windows]


@settings(max_examples=60)
@given(
    seconds=st.floats(0.11, 3),
    sample_rate=st.sampled_from(RATES),
    channels=st.integers(1, 3),
    places=st.lists(st.floats(0, 1), max_size=30),
    window=st.sampled_from([0.1, 0.25, 0.7, 1.0]),
    hop=st.sampled_from([0.05, 0.1]),
)
def test_windows_do_not_depend_on_the_chunks(seconds, sample_rate, channels, places, window, hop):
    samples = sound(seconds, sample_rate, channels)
    whole = fake_recognizer().timeline(samples, sample_rate, window=window, hop=hop)
    streamed = stream_over(cut(samples, places), sample_rate, window=window, hop=hop)
    assert spans(streamed) == spans(whole.windows)
    for one, other in zip(streamed, whole.windows, strict=True):
        assert one.prediction == other.prediction  # exactly: the inputs of the model are the same


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_a_file_is_equivalent_to_its_samples(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, sound(4.3, 44_100, 2).T, 44_100)
    samples, sample_rate = soundfile.read(path, dtype="float32")
    recognizer = fake_recognizer()
    expected = recognizer.timeline(samples.T, sample_rate, window=1.0, hop=0.25)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        found = recognizer.timeline(source, window=1.0, hop=0.25)
        assert spans(found.windows) == spans(expected.windows)
        for one, other in zip(found.windows, expected.windows, strict=True):
            assert one.prediction.label == other.prediction.label
            assert one.prediction.probabilities == pytest.approx(other.prediction.probabilities, abs=1e-5)


@pytest.mark.parametrize(
    "seconds, window, expected",
    [
        (2.0, 1.0, [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]),
        (2.2, 1.0, [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0), (1.2, 2.2)]),  # the last one has full length
        (0.4, 3.0, [(0.0, 0.4)]),
    ],
)
def test_window_and_hop_define_the_windows(seconds, window, expected):
    assert spans(stream_over([sound(seconds)], window=window, hop=0.5)) == expected


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.099])
def test_too_short(seconds):
    with pytest.raises(MediaError, match="too short"):
        stream_over([sound(seconds)])


def test_windows_are_returned_when_they_are_complete():
    stream = fake_recognizer().stream(window=1.0, hop=0.5)
    assert stream.feed(np.zeros(0, np.float32)) == stream.feed(np.zeros((2, 0), np.float32)) == []
    counts = [len(stream.feed(chunk)) for chunk in np.split(sound(2.0), 8, axis=1)]
    assert counts == [0, 0, 0, 1, 0, 1, 0, 1]
    assert stream.duration == 2.0
    assert stream.finish() == []
    for use in (lambda: stream.feed(sound(0.5)), stream.finish):
        with pytest.raises(ConfigError, match="closed"):
            use()


@pytest.mark.parametrize("chunk", [b"\0\1" * 800, {"array": sound(0.5)}, None, 0.5], ids=str)
def test_a_chunk_that_is_no_array_is_an_error(chunk):
    with pytest.raises(MediaError, match="expected"):
        fake_recognizer().stream().feed(chunk)


def test_the_resampler_has_a_short_delay_and_the_buffer_does_not_grow():
    stream = fake_recognizer().stream(48_000, window=1.0, hop=0.5)
    for second in range(20):
        stream.feed(sound(1.0, 48_000, seed=second))
        assert second + 0.95 < stream.duration < second + 1
        assert len(stream._held) < 2 * 16_000
    stream.finish()
    assert stream.duration == 20.0


def test_a_long_file_is_read_in_blocks(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 16_000, 1) as file:
        for second in range(240):
            file.write(sound(1.0, seed=second)[0])
    recognizer = fake_recognizer()
    recognizer.timeline(sound(1.0))  # excludes memory of imports
    tracemalloc.start()
    timeline = recognizer.timeline(path, window=1.0, hop=1.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(timeline.windows) == 240
    assert peak < 240 * 16_000 * 4 / 3  # bytes; a third of its samples


def test_the_batch_size_is_limited():
    recognizer = fake_recognizer()
    recognizer.timeline(np.tile(sound(10.0), 6), window=1.0, hop=0.25)
    assert max(recognizer.model.batches) == (16, 16_000)


def test_silent_windows_skip_the_model():
    samples = np.concatenate([sound(2.0), np.zeros((1, 48_000), np.float32), sound(2.0)], axis=1)
    recognizer = fake_recognizer()
    timeline = recognizer.timeline(samples, window=1.0, hop=0.5)
    silent = [window for window in timeline.windows if window.prediction.is_silence]
    assert (spans(silent)[0], spans(silent)[-1]) == ((2.0, 3.0), (4.0, 5.0))
    assert sum(size for size, _ in recognizer.model.batches) == len(timeline.windows) - len(silent)
    (segment,) = [segment for segment in timeline.segments if segment.label == SILENCE]
    assert (segment.start, segment.end) == (2.0, 5.0)


@pytest.mark.parametrize("chunk", [np.array([0.1, np.nan]), np.full(4, 1e9), np.zeros((1, 2, 3)), np.array(["a"])])
def test_an_invalid_chunk(chunk):
    with pytest.raises(MediaError):
        fake_recognizer().stream().feed(chunk)


@pytest.mark.parametrize("window, hop", [(0.05, 0.01), (121, 1), (1.0, 0.0), (1.0, -1.0), (1.0, 1.1), (np.nan, 0.5)])
def test_an_invalid_window_or_hop(window, hop):
    with pytest.raises(ConfigError, match=r"(window|hop) must be"):
        fake_recognizer().stream(window=window, hop=hop)
