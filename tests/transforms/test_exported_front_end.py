import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.transforms import LogMelFilterBank
from crossmodal.transforms.exported_front_end import mean_square, mel_power
from crossmodal.transforms.front_end import _frames

# sample_rate, n_fft, win_length, hop_length: defaults of this and other packages, and some with no common divisor
SETTINGS = [
    (16000, 512, 400, 160), (22050, 1024, 1024, 256), (8000, 256, 200, 80),
    (16000, 400, 333, 90), (16000, 401, 401, 100), (16000, 512, 401, 161), (16000, 6, 1, 1),
]  # fmt: skip


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def front_end(request):
    sample_rate, n_fft, win_length, hop_length = request.param
    return LogMelFilterBank(sample_rate, n_fft, win_length, hop_length, n_mels=min(40, n_fft // 4))


@settings(max_examples=20)
@given(size=st.integers(1, 6000), batch=st.integers(1, 3), seed=st.integers(0, 1000))
def test_mel_power_and_energy_equal_training(front_end, size, batch, seed):
    waveform = torch.randn(batch, size, generator=torch.Generator().manual_seed(seed))
    expected = front_end._mel_power(waveform).mT
    found = mel_power(waveform, front_end.window, front_end.filters[::2], front_end.hop_length)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    expected = _frames(waveform.square(), front_end.win_length, front_end.hop_length).mean(dim=-1)
    found = mean_square(waveform, front_end.win_length, front_end.hop_length)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_power_of_a_tone_equals_the_closed_form():
    """Closed form: a cosine of amplitude A at a bin, with a Hann window of sum S, has power (A S / 2)^2."""
    n_fft, number, amplitude = 512, 40, 0.3
    waveform = amplitude * torch.cos(2 * np.pi * number / n_fft * torch.arange(16 * n_fft, dtype=torch.float64)).float()
    window, filters = torch.hann_window(n_fft), torch.eye(n_fft // 2 + 1)  # one band per bin
    middle = mel_power(waveform[None], window, filters, n_fft)[0, :, 8]
    expected = (amplitude * window.sum() / 2) ** 2
    torch.testing.assert_close(middle[number], expected, rtol=1e-5, atol=0)
    assert middle[number + 3 :].max() < 1e-9 * expected
    assert middle[: number - 2].max() < 1e-9 * expected
