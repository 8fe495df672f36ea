import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import ConfigError
from crossmodal.transforms import MFCC, LogMelFilterBank, MFCCAndLogMel
from tests.uncompiled_librosa import librosa

FRONT_ENDS = {
    "lmfb": LogMelFilterBank(),
    "mfcc": MFCC(),
    "both": MFCCAndLogMel(energy=True),
    "lmfb_deltas": LogMelFilterBank(energy=True, deltas=1),
    "mfcc_deltas": MFCC(deltas=2),
}


def voice(seed: int, num_samples: int, loudness: float = 0.3) -> torch.Tensor:
    """Return a harmonic sound with noise, of shape (1, 1, num_samples)."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(num_samples) / 16000
    harmonics = sum(torch.sin(2 * torch.pi * 120 * k * time) / k for k in range(1, 20))
    return loudness * (harmonics + 0.05 * torch.randn(num_samples, generator=generator))[None, None]


# In dB, on values down to -100; float32 transforms differ in the order of summation.
TOLERANCE = 5e-3


@pytest.mark.parametrize(
    "sample_rate, n_fft, win_length, hop_length", [(16000, 512, 400, 160), (22050, 1024, 1024, 256)]
)
def test_log_mel_equals_librosa(sample_rate, n_fft, win_length, hop_length):
    waveform = voice(0, 20000)
    ours = LogMelFilterBank(sample_rate, n_fft, win_length, hop_length, silence_db=None)(waveform)[0][0].numpy()
    power = librosa.feature.melspectrogram(
        y=waveform[0, 0].numpy(), sr=sample_rate, n_fft=n_fft, win_length=win_length, hop_length=hop_length,
        n_mels=64, fmin=20.0, htk=True, norm=None, pad_mode="constant",
    )  # fmt: skip
    np.testing.assert_allclose(ours, librosa.power_to_db(power, top_db=80.0), atol=TOLERANCE)


def test_mfcc_equals_librosa():
    waveform = voice(1, 20000)
    theirs = librosa.feature.mfcc(
        y=waveform[0, 0].numpy(), sr=16000, n_mfcc=40, n_fft=512, win_length=400, hop_length=160,
        n_mels=64, fmin=20.0, htk=True, mel_norm=None, norm="ortho", pad_mode="constant",
    )  # fmt: skip
    np.testing.assert_allclose(MFCC(silence_db=None)(waveform)[0][0].numpy(), theirs, atol=TOLERANCE)


def test_energy_equals_librosa():
    waveform = voice(6, 20000)
    rms = librosa.feature.rms(y=waveform[0, 0].numpy(), frame_length=400, hop_length=160, pad_mode="constant")
    theirs = librosa.amplitude_to_db(rms, ref=1.0, amin=1e-5, top_db=80.0)
    ours, _ = LogMelFilterBank(energy=True, silence_db=None)(waveform)
    np.testing.assert_allclose(ours[0, -1:].numpy(), theirs, atol=TOLERANCE)


def test_deltas_equal_librosa_and_torchaudio():
    waveform = voice(7, 20000)
    first, delta, delta_of_delta = MFCC(deltas=2, silence_db=None)(waveform)[0][0].chunk(3)
    torch.testing.assert_close(delta, torchaudio.functional.compute_deltas(first, win_length=5))
    # librosa fits a parabola to an odd window; its slope in the middle equals that of the line.
    theirs = librosa.feature.delta(first.numpy(), width=5, order=1, mode="nearest")
    np.testing.assert_allclose(delta.numpy(), theirs, atol=TOLERANCE)
    theirs = librosa.feature.delta(delta.numpy(), width=5, mode="nearest")
    np.testing.assert_allclose(delta_of_delta.numpy(), theirs, atol=TOLERANCE)


def test_both_is_mfcc_followed_by_log_mel():
    waveform = voice(8, 9000)
    expected = torch.cat([MFCC()(waveform)[0], LogMelFilterBank()(waveform)[0]], dim=1)
    torch.testing.assert_close(MFCCAndLogMel()(waveform)[0], expected)


def test_mfcc_of_one_clip_equals_torchaudio():
    waveform = voice(2, 20000)
    theirs = torchaudio.transforms.MFCC(
        16000, 40, melkwargs={"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 64, "f_min": 20.0,
                              "pad_mode": "constant"}
    )  # fmt: skip
    torch.testing.assert_close(MFCC(silence_db=None)(waveform)[0], theirs(waveform)[:, 0], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", FRONT_ENDS)
@settings(max_examples=30, deadline=None)
@given(num_samples=st.integers(1, 3000), padding=st.integers(0, 2000), loudness=st.sampled_from([1e-4, 0.01, 0.5]))
def test_features_are_the_same_alone_and_padded_with_a_loud_clip(name, num_samples, padding, loudness):
    front_end = FRONT_ENDS[name]
    clip = voice(num_samples, num_samples, loudness)
    batch = torch.cat([torch.nn.functional.pad(clip, (0, padding)), voice(3, num_samples + padding, 0.9)])
    length = torch.tensor([num_samples, num_samples + padding])
    alone, frames = front_end(clip)
    together, lengths = front_end(batch, length)
    assert lengths[0] == frames
    torch.testing.assert_close(together[:1, :, :frames], alone, atol=TOLERANCE, rtol=0)


def test_top_db_is_relative_to_the_valid_frames():
    # All energy is so close to the end that the first frame beyond it has more of it than any valid frame.
    front_end = LogMelFilterBank(top_db=10.0, silence_db=None)
    clip = torch.zeros(1, 1, 319)
    clip[..., 310:] = 0.5
    padded = torch.nn.functional.pad(clip, (0, 1000))
    features = front_end(padded, torch.tensor([319]))[0][..., :2]
    torch.testing.assert_close(features, front_end(clip)[0], atol=TOLERANCE, rtol=0)
    assert (front_end(padded)[0][..., :2] - front_end(clip)[0]).abs().max() > 1  # differs without the length


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("num_samples", [1, 159, 160, 161, 16000])
def test_num_audio_frames_matches_the_output(name, num_samples):
    front_end = FRONT_ENDS[name]
    features, length = front_end(torch.zeros(1, 1, num_samples))
    assert length.tolist() == [features.shape[-1]]  # all frames of silence are equally loud
    assert features.shape == (1, front_end.num_features, front_end.num_audio_frames(torch.tensor([num_samples])))
    assert features.isfinite().all()


def test_only_silent_audio_frames_are_removed():
    waveform = voice(9, 16000)
    waveform[..., :4000] *= 0.001
    waveform[..., 8000:10000] *= 0.001
    every, _ = LogMelFilterBank(silence_db=None)(waveform)
    features, length = LogMelFilterBank(silence_db=30.0)(waveform)
    rms = librosa.feature.rms(y=waveform[0, 0].numpy(), frame_length=400, hop_length=160, pad_mode="constant")[0]
    loud = 20 * np.log10(rms / rms.max()) >= -30
    assert length.tolist() == [loud.sum()] and 60 < loud.sum() < 70  # of 101; frames overlap their loud neighbours
    assert torch.equal(features, every[..., torch.from_numpy(loud)])


@settings(max_examples=20, deadline=None)
@given(position=st.integers(0, 7999), silence_db=st.sampled_from([None, 30.0]), top_db=st.sampled_from([None, 80.0]))
def test_nan_input_gives_nan_features(position, silence_db, top_db):
    waveform = voice(10, 8000)
    waveform[..., position] = torch.nan
    assert MFCC(top_db=top_db, silence_db=silence_db)(waveform)[0].isnan().any()


def test_top_db_limits_the_range():
    waveform = torch.cat([voice(4, 8000), torch.zeros(1, 1, 8000)], dim=-1)
    assert np.ptp(LogMelFilterBank(top_db=30.0, silence_db=None)(waveform)[0].numpy()) == pytest.approx(30, abs=1e-4)
    assert np.ptp(LogMelFilterBank(top_db=None, silence_db=None)(waveform)[0].numpy()) > 80


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_autocast_does_not_lower_the_precision(name):
    waveform = voice(5, 8000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast, _ = FRONT_ENDS[name](waveform.bfloat16().float())
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, FRONT_ENDS[name](waveform.bfloat16().float())[0])


@pytest.mark.parametrize(
    "kwargs",
    [
        *({"n_mfcc": 65, "n_mels": 64}, {"win_length": 600, "n_fft": 512}, {"deltas": 3}),
        *({"sample_rate": 8000, "f_max": 7000.0}, {"f_min": 5000.0, "f_max": 4000.0}),
    ],
)
def test_invalid_settings_are_config_errors(kwargs):
    with pytest.raises(ConfigError):
        MFCC(**kwargs)
