import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.inference.predict import overview as module
from crossmodal.inference.predict.overview import MOST_COLUMNS, RATE, look_over


def tone(frequency: float, seconds: float, sample_rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate)).astype("f4")


def test_a_tone_is_seen_at_its_frequency():
    seen = look_over(tone(2000, 1.0))
    frequencies = np.linspace(0, RATE / 2, seen.power.shape[1])
    assert abs(frequencies[seen.power.mean(axis=0).argmax()] - 2000) < 40
    assert (seen.low.min(), seen.high.max()) == pytest.approx((-0.5, 0.5), abs=0.01)


def test_what_sounds_is_seen_when_it_sounds():
    samples = np.concatenate([np.zeros(RATE), tone(500, 0.5), np.zeros(RATE)]).astype(np.float32)
    seen = look_over(samples)
    loud = seen.power.sum(axis=1) > 1e-3 * seen.power.sum(axis=1).max()
    assert (seen.times[loud].min(), seen.times[loud].max()) == pytest.approx((1.0, 1.5), abs=0.02)
    swinging = seen.high > 0.4
    assert (seen.times[swinging].min(), seen.times[swinging].max()) == pytest.approx((1.0, 1.5), abs=0.005)


@settings(max_examples=60)
@given(length=st.integers(1600, 40_000), limit=st.sampled_from([4, 10, 64]), seed=st.integers(0, 99))
def test_columns_are_halved_without_losing_anything(length, limit, seed):
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, length).astype(np.float32)
    samples[seed * length // 100] = 0.9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_COLUMNS", limit)
        seen = look_over(samples)
    assert len(seen.low) == len(seen.high) == len(seen.power) <= limit
    assert len(samples) / RATE <= seen.duration <= 2 * len(samples) / RATE + 0.1
    spike = int(seen.high.argmax())
    width = seen.duration / len(seen.high)
    assert seen.high[spike] == np.float32(0.9)
    assert spike == seed * length // 100 // round(width * RATE)
    fine = look_over(samples)
    frames = round(width / (fine.duration / len(fine.power)))
    whole = len(fine.power) // frames
    expected = fine.power[: whole * frames].reshape(whole, frames, -1).mean(axis=1)
    np.testing.assert_allclose(seen.power[:whole], expected, rtol=1e-4, atol=1e-6)


def test_a_long_recording_takes_no_more_columns(monkeypatch):
    monkeypatch.setattr(module, "MOST_COLUMNS", 100)
    assert [len(look_over(tone(300, seconds)).low) <= 100 for seconds in (0.2, 2, 20)] == [True] * 3
    assert MOST_COLUMNS % 2 == 0


def test_rates_and_channels_do_not_matter():
    expected = look_over(tone(700, 1.0))
    other = look_over(np.stack([tone(700, 1.0, 44_100)] * 2), 44_100)
    assert other.duration == expected.duration
    np.testing.assert_allclose(other.high[5:-5], expected.high[5:-5], atol=0.01)
