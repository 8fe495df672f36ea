import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import MediaError
from crossmodal.media import read_waveform
from tests.media.recordings import numbered_pictures, sine, write_video, write_wav


class TestSound:
    def test_samples_equal_the_file(self, tmp_path):
        expected = sine(440, 0.5, 16_000)
        path = write_wav(tmp_path / "a.wav", expected, subtype="FLOAT")
        assert read_waveform(path).dtype == np.float32
        np.testing.assert_array_equal(read_waveform(path), expected)
        np.testing.assert_array_equal(read_waveform(path, start=0.25), expected[4000:])
        write_wav(path, np.float32([0.5, 1.5, -2.0]), subtype="FLOAT")  # overshoot is clipped
        np.testing.assert_array_equal(read_waveform(path), np.float32([0.5, 1.0, -1.0]))

    @pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
    def test_formats(self, tmp_path, suffix):
        path = write_wav(tmp_path / f"a{suffix}", sine(440, 0.5, 16_000))
        np.testing.assert_allclose(read_waveform(path), sine(440, 0.5, 16_000), atol=0.03)

    def test_stereo_is_averaged(self, tmp_path):
        left, right = sine(440, 0.2, 16_000), sine(660, 0.2, 16_000)
        path = write_wav(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT")
        np.testing.assert_allclose(read_waveform(path), (left + right) / 2, atol=1e-7)

    @pytest.mark.parametrize(
        ("sample_rate", "frequency"), [(44_100, 1000), (48_000, 1000), (8_000, 1000), (48_000, 12_000)]
    )
    def test_resampled_sine_is_the_sine_at_the_new_rate(self, tmp_path, sample_rate, frequency):
        waveform = read_waveform(write_wav(tmp_path / "a.wav", sine(frequency, 1.0, sample_rate), sample_rate))
        inside = slice(800, -800)  # without the edge effects of the filter
        assert len(waveform) == 16_000
        expected = sine(frequency, 1.0, 16_000)[inside] * (frequency < 8_000)  # silence above Nyquist's frequency
        np.testing.assert_allclose(waveform[inside], expected, atol=1e-3)

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
        assert (waveform.ndim, waveform.dtype) == (1, np.float32)
        assert np.abs(waveform).max() <= 1  # False for NaN
        assert abs(len(waveform) - round(length * 16_000 / sample_rate)) <= 1


class TestSoundOfVideo:
    def test_equals_the_encoded_sound(self, numbered):
        waveform = read_waveform(numbered, 48_000)
        expected = sine(440, 1.4, 48_000)
        np.testing.assert_allclose(waveform[4800:60_000], expected[4800:60_000], atol=0.02)

    def test_channels_are_averaged(self, tmp_path):
        # FFmpeg's downmix scales the sum for equal power, which would give a peak of 0.35 instead of 0.25.
        sound = np.stack([sine(440, 1.0, 48_000), np.zeros(48_000, np.float32)])
        waveform = read_waveform(write_video(tmp_path / "a.m4a", [], sound=sound, channels=2))
        assert np.abs(waveform[4000:12_000]).max() == pytest.approx(0.25, abs=0.01)

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
    def test_delay_is_padded(self, tmp_path, suffix):
        sound = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
        path = write_video(tmp_path / f"late{suffix}", numbered_pictures(), sound=sound, delay=9600)
        late = read_waveform(path, 48_000)
        lag = np.correlate(late, sound, "valid").argmax()
        assert abs(lag - 9600) <= 48  # Matroska rounds times to milliseconds
        assert np.abs(late[:8000]).max() < 0.01

    def test_start_cuts_the_delay(self, tmp_path):
        path = write_video(tmp_path / "a.mp4", numbered_pictures(5), sound=sine(440, 0.5, 48_000), delay=4800)
        np.testing.assert_array_equal(read_waveform(path, 48_000, start=0.1), read_waveform(path, 48_000)[4800:])
        sound = sine(440, 0.1, 48_000)
        late = write_video(tmp_path / "a.mkv", numbered_pictures(5), sound=sound, delay=48_000 * 90_000)
        with pytest.raises(MediaError, match="90,000 s"):
            read_waveform(late)
        broadcast = write_video(tmp_path / "b.mkv", [], sound=sound, sound_codec="flac", delay=48_000 * 90_000)
        np.testing.assert_allclose(read_waveform(broadcast, 48_000), sound, atol=1e-4)
