import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crossmodal import media
from crossmodal.errors import MediaError
from tests.inference.conftest import LABELS


@pytest.fixture(scope="session")
def wav(tiny_ravdess):
    return tiny_ravdess / "Actor_01" / "03-01-05-01-01-01-01.wav"


def test_a_file_gets_a_probability_for_each_emotion(recognizer, wav):
    heard = recognizer(wav)
    assert list(heard.probabilities) == LABELS
    assert sum(heard.probabilities.values()) == pytest.approx(1, abs=1e-9)
    assert heard.score == heard.probabilities[heard.label] == max(heard.probabilities.values())
    assert recognizer(str(wav)) == heard


def test_the_answer_is_the_softmax_of_the_models_logits(recognizer, model, wav):
    waveform = torch.from_numpy(media.read_waveform(wav)).view(1, 1, -1)
    with torch.inference_mode():
        expected = model(waveform).softmax(dim=-1)[0]
    np.testing.assert_allclose(list(recognizer(wav).probabilities.values()), expected, atol=1e-6)


def test_samples_at_another_rate_get_the_answer_of_their_file(recognizer, wav):
    samples, sample_rate = soundfile.read(wav, dtype="float32")
    assert sample_rate == 48_000
    expected = list(recognizer(wav).probabilities.values())
    for given_samples in (samples, samples.astype(np.float64), samples[None], np.stack([samples, samples])):
        heard = recognizer(given_samples, sample_rate)
        np.testing.assert_allclose(list(heard.probabilities.values()), expected, atol=1e-4)


def test_without_a_rate_samples_are_at_the_models(recognizer, wav):
    waveform = media.read_waveform(wav)
    assert recognizer(waveform) == recognizer(waveform, 16_000)
    assert recognizer(waveform) != recognizer(waveform, 8_000)


def test_channels_are_averaged(recognizer, wav):
    waveform = media.read_waveform(wav)
    apart = np.stack([2 * waveform, np.zeros_like(waveform)])
    np.testing.assert_allclose(
        list(recognizer(apart).probabilities.values()), list(recognizer(waveform).probabilities.values()), atol=1e-5
    )


def test_it_hears_more_than_one_thing(recognizer, tiny_ravdess):
    heard = [list(recognizer(path).probabilities.values()) for path in sorted(tiny_ravdess.rglob("*.wav"))[:16:2]]
    assert np.ptp(heard, axis=0).max() > 0.1


def test_the_sound_of_a_video_is_heard(recognizer, tiny_videos):
    heard = recognizer(next(tiny_videos.rglob("*.mp4")))
    assert sum(heard.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize("size", [1, 100, 16_000])
def test_silence_has_finite_probabilities(recognizer, size):
    heard = recognizer(np.zeros(size, np.float32))
    assert np.isfinite(list(heard.probabilities.values())).all()
    assert sum(heard.probabilities.values()) == pytest.approx(1)


@settings(max_examples=15)
@given(hnp.arrays(np.float32, st.integers(1, 4000), elements=st.floats(-1, 1, width=32)))
def test_any_sound_has_probabilities_that_sum_to_one(recognizer, samples):
    probabilities = np.array(list(recognizer(samples).probabilities.values()))
    assert probabilities.min() >= 0
    assert probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "samples",
    [
        np.array([0.1, np.nan, 0.2]),
        np.array([0.1, np.inf]),
        np.array([]),
        np.zeros((2, 0)),
        np.zeros((1, 2, 3)),
        np.float32(0.5),
    ],
    ids=["nan", "infinity", "none", "channels of none", "three dimensions", "a number"],
)
def test_samples_that_are_no_sound_are_refused(recognizer, samples):
    with pytest.raises(MediaError, match=r"finite samples of shape \(T,\) or \(channels, T\)"):
        recognizer(samples)


def test_a_file_that_is_no_sound_is_named(recognizer, tmp_path):
    path = tmp_path / "text.wav"
    path.write_text("this is not a sound")
    with pytest.raises(MediaError, match=r"text\.wav: it is not a sound file"):
        recognizer(path)
    with pytest.raises(MediaError, match=r"gone\.wav: there is no such file"):
        recognizer(tmp_path / "gone.wav")


def test_it_never_trains(recognizer, model):
    assert not recognizer.model.training
    recognizer(np.ones(2000, np.float32))
    assert all(parameter.grad is None for parameter in recognizer.model.parameters())
