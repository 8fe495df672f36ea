"""Tests of waveform augmentation, measured on its output."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crossmodal.errors import ConfigError
from crossmodal.transforms import (
    AdditiveNoise,
    RandomCrop,
    RandomGain,
    SpeedPerturbation,
    length_mask,
)

SAMPLE_RATE = 16000
KINDS = {"crop": RandomCrop, "gain": RandomGain, "noise": AdditiveNoise}
KINDS |= {"speed": SpeedPerturbation}
ALL = {name: kind(p=1.0) for name, kind in KINDS.items()}
every = pytest.mark.parametrize("name", ALL)


def sine(frequency, num_samples, amplitude=0.5):
    return amplitude * torch.sin(2 * torch.pi * frequency * torch.arange(num_samples) / SAMPLE_RATE)


def batch_of(clips, padding=0):
    """Return clips of shape (T,), zero-padded beyond the longest, and their lengths."""
    length = torch.tensor([len(clip) for clip in clips])
    waveform = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)[:, None]
    return torch.nn.functional.pad(waveform, (0, padding)), length


def peak_frequency(samples):
    """Return the frequency of the spectral peak in Hz, to a fraction of a bin."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    return np.argmax(spectrum) * SAMPLE_RATE / (8 * len(samples))


def decibels(ratio):
    return 10 * math.log10(ratio)


@st.composite
def batches(draw):
    """Draw up to four clips of silence, full scale or faint noise, of at least one sample, some with more padding."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    kinds = {
        "silence": torch.zeros,
        "full scale": lambda size: torch.rand(size).sub(0.5).sign(),
        "faint": lambda size: 1e-6 * torch.rand(size),
        "noise": lambda size: 2 * torch.rand(size) - 1,
    }
    shapes = st.tuples(st.sampled_from(sorted(kinds)), st.one_of(st.just(1), st.integers(1, 2000)))
    clips = [kinds[kind](size) for kind, size in draw(st.lists(shapes, min_size=1, max_size=4))]
    return batch_of(clips, padding=draw(st.integers(0, 50)))


@every
@settings(max_examples=25)
@given(batch=batches(), seed=st.integers(0, 1000))
def test_output_is_a_valid_batch_of_waveforms(name, batch, seed):
    waveform, length = batch
    waveform_before, length_before = waveform.clone(), length.clone()
    torch.manual_seed(seed)
    augmented, augmented_length = ALL[name](waveform, length)
    assert torch.equal(waveform, waveform_before)
    assert torch.equal(length, length_before)

    assert augmented.shape[:2] == waveform.shape[:2]
    assert (augmented.dtype, augmented_length.dtype) == (torch.float32, torch.int64)
    assert 1 <= augmented_length.min() <= augmented_length.max() <= augmented.shape[-1]
    silent = ~waveform.flatten(1).any(dim=1)
    assert not augmented[silent].any()
    assert augmented.isfinite().all()
    assert augmented.abs().max() <= 1
    assert not augmented.squeeze(1)[~length_mask(augmented_length, augmented.shape[-1])].any()

    torch.manual_seed(seed)
    again, length_again = ALL[name](waveform, length)
    assert torch.equal(again, augmented)
    assert torch.equal(length_again, augmented_length)


@every
@settings(max_examples=5)
@given(batch=batches())
def test_no_change_in_eval_mode_or_at_probability_zero(name, batch):
    waveform, length = batch
    for augment in (KINDS[name](p=1.0).eval(), KINDS[name](p=0.0)):
        augmented, augmented_length = augment(waveform, length)
        assert torch.equal(augmented, waveform)
        assert torch.equal(augmented_length, length)


@every
def test_probability_is_per_clip_and_other_clips_do_not_change(name):
    waveform, length = batch_of([sine(300, 400)] * 400)
    torch.manual_seed(1)
    augmented, augmented_length = KINDS[name](p=0.25)(waveform, length)
    size = min(augmented.shape[-1], 400)
    same = (augmented[..., :size] == waveform[..., :size]).flatten(1).all(dim=1) & (augmented_length == length)
    # One of the three default speed factors is 1; a crop or shift may be zero samples.
    expected = 0.25 * (2 / 3 if name == "speed" else 1)
    assert (~same).float().mean() == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"noise"}))
@settings(max_examples=10)
@given(batch=batches(), seed=st.integers(0, 1000))
@example(batch=(torch.tensor([[[-1.0, 1.0, -1.0, -1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0]]]), torch.tensor([10])), seed=0)
def test_augmentation_does_not_depend_on_padding(name, batch, seed):
    waveform, length = batch
    torch.manual_seed(seed)
    augmented, _ = ALL[name](waveform, length)
    torch.manual_seed(seed)
    padded, _ = ALL[name](torch.nn.functional.pad(waveform, (0, 700)), length)
    size = min(padded.shape[-1], augmented.shape[-1])
    torch.testing.assert_close(padded[..., :size], augmented[..., :size], atol=1e-5, rtol=0)


@every
def test_autocast_does_not_lower_the_precision(name):
    waveform, length = batch_of([sine(300, 3000)] * 4)
    torch.manual_seed(0)
    plain, _ = ALL[name](waveform, length)
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast, _ = ALL[name](waveform, length)
    assert torch.equal(under_autocast, plain)


def test_gain_is_one_factor_per_clip_within_its_range():
    waveform, length = batch_of([sine(300, 500, amplitude=0.1)] * 300)
    torch.manual_seed(0)
    augmented, _ = RandomGain(min_gain_db=-20, max_gain_db=10, p=1.0)(waveform, length)
    factor = augmented[:, 0, 1:11] / waveform[:, 0, 1:11]
    torch.testing.assert_close(factor, factor[:, :1].expand_as(factor))
    gains = 20 * factor[:, 0].log10()
    assert -20 <= gains.min() < -19
    assert 9 < gains.max() <= 10
    assert gains.mean() == pytest.approx(-5, abs=1.5)


def test_gain_is_limited_to_full_scale_without_clipping():
    waveform, length = batch_of([sine(300, 500, amplitude=0.8)])
    augmented, _ = RandomGain(min_gain_db=6, max_gain_db=6, p=1.0)(waveform, length)
    torch.testing.assert_close(augmented, waveform / waveform.abs().max())


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0, 40.0])
def test_noise_has_the_exact_ratio_over_the_valid_samples(snr_db):
    clips = [sine(300, size, amplitude) for size, amplitude in [(4000, 0.05), (900, 0.01), (1500, 0.02), (7, 0.1)]]
    waveform, length = batch_of(clips)
    waveform[0, 0, 1000:3000] = 0  # a pause counts
    augmented, _ = AdditiveNoise(min_snr_db=snr_db, max_snr_db=snr_db, p=1.0)(waveform, length)
    for before, after, valid in zip(waveform[:, 0], augmented[:, 0], length, strict=True):
        before, after = before[:valid].double(), after[:valid].double()
        ratio = decibels(before.square().sum() / (after - before).square().sum())
        assert ratio == pytest.approx(snr_db, abs=0.05)


def test_noise_and_clip_are_scaled_down_together_above_full_scale():
    clip = sine(300, 2000, amplitude=0.9)
    torch.manual_seed(0)
    faint, _ = AdditiveNoise(min_snr_db=0, max_snr_db=0, p=1.0)(*batch_of([clip / 100]))
    torch.manual_seed(0)
    loud, _ = AdditiveNoise(min_snr_db=0, max_snr_db=0, p=1.0)(*batch_of([clip]))
    torch.testing.assert_close(loud, faint / faint.abs().max())


def test_noise_has_ratios_within_the_range():
    waveform, length = batch_of([sine(300, 2000, amplitude=0.05)] * 100)
    torch.manual_seed(0)
    augmented, _ = AdditiveNoise(min_snr_db=10, max_snr_db=30, p=1.0)(waveform, length)
    noise = (augmented - waveform).double().square().sum(dim=-1)
    ratios = 10 * (waveform.double().square().sum(dim=-1) / noise).log10()
    assert 9.95 < ratios.min() < 12
    assert 28 < ratios.max() < 30.05


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_spectrum_has_its_exponent(exponent):
    waveform, length = batch_of([sine(300, 16000)] * 8)
    torch.manual_seed(0)
    noisy, _ = AdditiveNoise(20, 20, min_exponent=exponent, max_exponent=exponent, p=1.0)(waveform, length)
    power = np.abs(np.fft.rfft((noisy - waveform)[:, 0].double().numpy())) ** 2  # bins of 1 Hz
    low, middle, high = (power[:, first : 2 * first].mean() for first in (100, 1000, 4000))
    assert decibels(low / middle) == pytest.approx(10 * exponent, abs=1)
    assert decibels(middle / high) == pytest.approx(10 * exponent * math.log10(4), abs=1)
    assert power[:, :20].sum() < 1e-6 * power.sum()  # inaudible frequencies do not affect the ratio


def test_crop_is_a_contiguous_part():
    ramps = [torch.arange(1, size + 1) / 2000 for size in (1000, 1500) for _ in range(50)]
    waveform, length = batch_of(ramps)
    torch.manual_seed(0)
    augmented, kept = RandomCrop(min_share=0.5, p=1.0)(waveform, length)
    assert augmented.shape[-1] == kept.max()
    shares = kept / length
    assert 0.5 <= shares.min() < 0.55
    assert 0.95 < shares.max() <= 1
    starts = []
    for before, after, valid in zip(waveform[:, 0], augmented[:, 0], kept.tolist(), strict=True):
        start = round(after[0].item() * 2000) - 1  # the ramp encodes the position
        assert torch.equal(after[:valid], before[start : start + valid])
        starts.append(start)
    assert min(starts) < 20
    assert max(starts) > 500
    _, kept = RandomCrop(min_share=0.0, p=1.0)(*batch_of([torch.ones(3)] * 100))
    assert kept.min() == 1


@pytest.mark.parametrize("factor", [0.5, 0.9, 0.95, 1.1, 1.25, 2.0])
def test_speed_changes_pitch_and_length_by_its_factor(factor):
    waveform, length = batch_of([sine(1000, 8000), sine(700, 4400)])
    augmented, new_length = SpeedPerturbation(factors=[factor])(waveform, length)
    assert new_length.tolist() == [math.ceil(round(size / factor, 6)) for size in (8000, 4400)]
    assert augmented.shape[-1] == new_length[0]
    for clip, frequency, valid in zip(augmented[:, 0], (1000, 700), new_length, strict=True):
        assert peak_frequency(clip[:valid].numpy()) == pytest.approx(factor * frequency, rel=2e-3)
        inside = slice(100, valid - 100)
        ideal = sine(factor * frequency, valid)  # from an ideal resampler, except near the ends
        torch.testing.assert_close(clip[inside], ideal[inside], atol=5e-3, rtol=0)


def test_speed_draws_factors_uniformly_per_clip():
    frequencies = torch.linspace(500, 900, 60).tolist()
    waveform, length = batch_of([sine(frequency, 2000) for frequency in frequencies])
    torch.manual_seed(0)
    augmented, new_length = SpeedPerturbation(factors=(0.8, 1.0, 1.25))(waveform, length)
    factors = [2000 / valid for valid in new_length.tolist()]
    assert {factors.count(factor) > 10 for factor in (0.8, 1.0, 1.25)} == {True}
    for clip, frequency, factor, valid in zip(augmented[:, 0], frequencies, factors, new_length, strict=True):
        assert peak_frequency(clip[:valid].numpy()) == pytest.approx(factor * frequency, rel=5e-3)
        assert factor != 1 or torch.equal(clip[:valid], sine(frequency, 2000))


@pytest.mark.parametrize(
    "kind, kwargs",
    [
        *((RandomGain, {"p": p}) for p in (1.5, "1e-1")),
        *((RandomGain, gains) for gains in ({"min_gain_db": 3, "max_gain_db": 2}, {"max_gain_db": math.nan})),
        *((AdditiveNoise, limit) for limit in ({"min_snr_db": 50}, {"max_exponent": 9})),
        (RandomCrop, {"min_share": 1.2}),
        *((SpeedPerturbation, {"factors": factors}) for factors in ([], 1.1, "1.1", [0.1])),
    ],
)
def test_invalid_settings_are_config_errors(kind, kwargs):
    with pytest.raises(ConfigError):
        kind(**kwargs)
