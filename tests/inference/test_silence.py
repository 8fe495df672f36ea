import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal import media
from crossmodal.inference.recording import SILENCE_DB, is_silent, loudness

RATE = 16_000


def tone(amplitude: float, seconds: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * 400 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 0.001])
def test_a_tone_has_the_level_of_its_amplitude(amplitude):
    assert loudness(tone(amplitude), RATE) == pytest.approx(20 * np.log10(amplitude / np.sqrt(2)), abs=0.01)


def test_sounds_below_and_above_the_gate():
    assert loudness(np.zeros(RATE, np.float32), RATE) == -np.inf
    assert is_silent(np.full(RATE, 0.25, np.float32), RATE)  # a microphone's offset
    assert is_silent(np.random.default_rng(0).uniform(-1, 1, RATE).astype(np.float32) / 2**16, RATE)  # 16-bit rounding
    assert not is_silent(tone(0.002), RATE)  # a whisper


@given(start=st.integers(0, 2 * RATE - 400), seconds=st.floats(2.0, 2.5))
def test_25_ms_of_sound_are_not_silent(start, seconds):
    waveform = np.zeros(round(seconds * RATE), np.float32)
    waveform[start : start + 400] = tone(0.01, 0.025)
    assert not is_silent(waveform, RATE)


def test_an_incomplete_last_frame_counts():
    waveform = np.zeros(1000, np.float32)
    waveform[-200:] = tone(0.01, 200 / RATE)
    assert not is_silent(waveform, RATE)


def test_voices_are_far_above_the_gate(tiny_ravdess):
    quietest = min(loudness(media.read_waveform(path), RATE) for path in tiny_ravdess.rglob("*.wav"))
    assert quietest > SILENCE_DB + 20
