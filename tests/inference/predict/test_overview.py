import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.inference.predict import overview as module
from crossmodal.inference.predict.overview import RATE, Overview, compute_overview


def tone(frequency: float, seconds: float, sample_rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate)).astype("f4")


def overview_of(samples: np.ndarray) -> Overview:
    return compute_overview(samples, samples.shape[-1] / RATE)


def test_power_of_a_tone_is_at_its_frequency():
    overview = overview_of(tone(2000, 1.0))
    frequencies = np.linspace(0, RATE / 2, overview.power.shape[1])
    assert abs(frequencies[overview.power.mean(axis=0).argmax()] - 2000) < 40
    assert (overview.low.min(), overview.high.max()) == pytest.approx((-0.5, 0.5), abs=0.01)


def test_times_of_a_sound():
    samples = np.concatenate([np.zeros(RATE), tone(500, 0.5), np.zeros(RATE)]).astype(np.float32)
    overview = overview_of(samples)
    loud = overview.power.sum(axis=1) > 1e-3 * overview.power.sum(axis=1).max()
    assert (overview.times[loud].min(), overview.times[loud].max()) == pytest.approx((1.0, 1.5), abs=0.02)
    high = overview.high > 0.4
    assert (overview.times[high].min(), overview.times[high].max()) == pytest.approx((1.0, 1.5), abs=0.005)


@settings(max_examples=60)
@given(length=st.integers(1600, 40_000), limit=st.sampled_from([4, 10, 64]), seed=st.integers(0, 99))
def test_merged_columns_keep_extremes_and_mean_power(length, limit, seed):
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, length).astype(np.float32)
    samples[seed * length // 100] = 0.9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_COLUMNS", limit)
        overview = overview_of(samples)
    assert len(overview.low) == len(overview.high) == len(overview.power) <= limit
    width = overview.duration / len(overview.high)
    assert len(samples) / RATE <= overview.duration < len(samples) / RATE + width
    spike = int(overview.high.argmax())
    assert overview.high[spike] == np.float32(0.9)
    assert spike == seed * length // 100 // round(width * RATE)
    fine = overview_of(samples)
    frames = round(width / (fine.duration / len(fine.power)))
    whole = len(fine.power) // frames
    expected = fine.power[: whole * frames].reshape(whole, frames, -1).mean(axis=1)
    np.testing.assert_allclose(overview.power[:whole], expected, rtol=1e-4, atol=1e-6)


def test_sample_rate_and_channels_do_not_matter(tmp_path):
    expected = overview_of(tone(700, 1.0))
    soundfile.write(tmp_path / "stereo.wav", np.stack([tone(700, 1.0, 44_100)] * 2, axis=1), 44_100)
    other = compute_overview(tmp_path / "stereo.wav", 1.0)
    assert other.duration == expected.duration
    np.testing.assert_allclose(other.high[5:-5], expected.high[5:-5], atol=0.01)
