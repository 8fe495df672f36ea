"""The front end's computations with operations that ONNX supports, used during export."""
# ONNX's own Fourier transform is several times slower in onnxruntime than this code. Batch and time are dynamic, so
# this code uses ``reshape`` and ``shape[0]``: the exporter would fix the sizes of ``unflatten`` and ``len``.

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def mel_power(waveform: Tensor, window: Tensor, filters: Tensor, hop_length: int, before: int | None = None) -> Tensor:
    """Compute power in mel bands, (B, n_mels, 1 + T // hop_length), of (B, T); filters are (n_fft // 2 + 1, n_mels).

    The first frame begins `before` samples before the waveform, by default half of ``n_fft``; zeros are around it.

    This is one step of the fast Fourier transform (Cooley & Tukey 1965): the samples are split into phases, a
    convolution computes a short spectrum of each phase of each frame, and a matrix product combines these into the full
    spectrum.
    """
    n_fft = len(window)
    phases = next(n for n in (16, 8, 4, 2, 1) if n == 1 or n_fft % (2 * n) == hop_length % n == 0)
    support = window.nonzero().flatten()  # a window shorter than the transform has zeros at its ends
    first = int(support[0]) // phases * phases
    size = math.ceil((int(support[-1]) + 1 - first) / phases) * phases
    sample = torch.arange(first, first + size).view(-1, phases).T[:, None]  # (phases, 1, samples of a phase)
    bins = torch.arange(n_fft // (2 * phases) + 1)
    waves = torch.stack(_cosine_and_sine(bins[:, None] * sample, n_fft), dim=1) * window[sample][:, None]
    before = n_fft // 2 if before is None else before
    samples = _pad_to_frames(waveform, before - first, size, hop_length)
    batch = samples.shape[0]
    samples_by_phase = samples.reshape(batch, -1, phases).transpose(1, 2)
    spectra = F.conv1d(samples_by_phase, waves.flatten(0, 2)[:, None], stride=hop_length // phases, groups=phases)
    count = spectra.shape[2]
    spectrum = _dft_matrix(phases) @ spectra.reshape(batch, 2 * phases, -1)
    power = spectrum.square().reshape(batch, phases, 2, -1).sum(dim=2).reshape(batch, -1, count)
    bins = (torch.arange(phases)[:, None] * (n_fft // phases) + bins).flatten()
    bins = bins.minimum(n_fft - bins)  # the upper half of the spectrum mirrors the lower, so some bins occur twice
    return (filters[bins] / bins.bincount()[bins][:, None]).T @ power


def _cosine_and_sine(steps: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Return real and imaginary part of ``exp(-2 pi i steps / period)``."""
    angle = (2 * math.pi / period) * (steps % period).double()
    return angle.cos().float(), -angle.sin().float()


def _dft_matrix(phases: int) -> Tensor:
    """Return the DFT over phases as a real matrix, (2 phases, 2 phases), with real and imaginary parts alternating."""
    number = torch.arange(phases)
    real, imaginary = _cosine_and_sine(number[:, None] * number, phases)
    rows = torch.stack([real, -imaginary, imaginary, real], dim=-1).unflatten(-1, (2, 2))
    return rows.transpose(1, 2).flatten(2).flatten(0, 1)


def mean_square(waveform: Tensor, size: int, hop_length: int) -> Tensor:
    """Compute the mean square of `size` samples around every ``hop_length``-th, of shape (B, 1 + T // hop_length)."""
    common = math.gcd(size, hop_length)  # means of this many samples are shared by several frames
    squares = _pad_to_frames(waveform.square(), size // 2, size, hop_length)
    parts = squares.reshape(squares.shape[0], -1, common).mean(dim=2)
    return F.avg_pool1d(parts[:, None], size // common, hop_length // common)[:, 0]


def _pad_to_frames(waveform: Tensor, before: int, size: int, hop_length: int) -> Tensor:
    """Pad and crop (B, T) to the range from the first to the last of 1 + T // hop_length frames."""
    count = 1 + waveform.shape[-1] // hop_length
    return F.pad(waveform, (before, size))[:, : (count - 1) * hop_length + size]
