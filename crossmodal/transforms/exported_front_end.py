"""The front end's inner loops in operations that ONNX has, for the time of an export.

Training takes the Fourier transform of a view of the waveform. ONNX has no such view, and its own transform takes
several times longer in onnxruntime than what is here. Batch and time stay open; so ``reshape`` and ``shape[0]`` stand
where the exporter of torch 2.12 would freeze the sizes of ``unflatten`` and ``len``.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def mel_power(waveform: Tensor, window: Tensor, filters: Tensor, hop_length: int) -> Tensor:
    """Compute the power in mel bands around every ``hop_length``-th sample.

    It is one step of the fast Fourier transform (Cooley & Tukey 1965): the samples are dealt out to phases, a
    convolution makes a short spectrum of each phase of each frame, and another turns these into the whole.

    Args:
        waveform: Of shape (B, T).
        window: Of shape (n_fft,).
        filters: Of shape (n_fft // 2 + 1, n_mels).
        hop_length: Samples from one frame to the next.

    Returns:
        Power of shape (B, n_mels, 1 + T // hop_length).
    """
    n_fft = len(window)
    phases = next(n for n in (16, 8, 4, 2, 1) if n == 1 or n_fft % (2 * n) == hop_length % n == 0)
    heard = window.nonzero().flatten()  # a window shorter than the transform has zeros at its ends
    first = int(heard[0]) // phases * phases
    size = math.ceil((int(heard[-1]) + 1 - first) / phases) * phases
    sample = torch.arange(first, first + size).view(-1, phases).T[:, None]  # (phases, 1, samples of a phase)
    bins = torch.arange(n_fft // (2 * phases) + 1)
    waves = torch.stack(_cosine_and_sine(bins[:, None] * sample, n_fft), dim=1) * window[sample][:, None]
    row = _frames_in_a_row(waveform, n_fft // 2 - first, size, hop_length)
    batch = row.shape[0]
    dealt_out = row.reshape(batch, -1, phases).transpose(1, 2)
    spectra = F.conv1d(dealt_out, waves.flatten(0, 2)[:, None], stride=hop_length // phases, groups=phases)
    count = spectra.shape[2]
    whole = _turns(phases) @ spectra.reshape(batch, 2 * phases, -1)
    power = whole.square().reshape(batch, phases, 2, -1).sum(dim=2).reshape(batch, -1, count)
    bins = (torch.arange(phases)[:, None] * (n_fft // phases) + bins).flatten()
    bins = bins.minimum(n_fft - bins)  # the upper half of the spectrum mirrors the lower: some bins come twice
    return (filters[bins] / bins.bincount()[bins][:, None]).T @ power


def _cosine_and_sine(steps: Tensor, steps_of_a_turn: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary part after so many steps of a turn, clockwise."""
    angle = (2 * math.pi / steps_of_a_turn) * (steps % steps_of_a_turn).double()
    return angle.cos().float(), -angle.sin().float()


def _turns(phases: int) -> Tensor:
    """The Fourier transform over phases as a real matrix, (2 phases, 2 phases); real and imaginary parts in turn."""
    number = torch.arange(phases)
    real, imaginary = _cosine_and_sine(number[:, None] * number, phases)
    rows = torch.stack([real, -imaginary, imaginary, real], dim=-1).unflatten(-1, (2, 2))
    return rows.transpose(1, 2).flatten(2).flatten(0, 1)


def mean_square(waveform: Tensor, size: int, hop_length: int) -> Tensor:
    """Compute the mean square of `size` samples around every ``hop_length``-th, of shape (B, 1 + T // hop_length)."""
    common = math.gcd(size, hop_length)  # the mean of so many samples serves several frames
    squares = _frames_in_a_row(waveform.square(), size // 2, size, hop_length)
    parts = squares.reshape(squares.shape[0], -1, common).mean(dim=2)
    return F.avg_pool1d(parts[:, None], size // common, hop_length // common)[:, 0]


def _frames_in_a_row(waveform: Tensor, before: int, size: int, hop_length: int) -> Tensor:
    """Pad and cut (B, T) to where the first of 1 + T // hop_length frames starts and the last one ends."""
    count = 1 + waveform.shape[-1] // hop_length
    return F.pad(waveform, (before, size))[:, : (count - 1) * hop_length + size]
