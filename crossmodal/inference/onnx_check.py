"""Generated sounds for the comparison of an exported model with the original. None is of a person."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]  # waveforms (B, T) and lengths in samples (B,)

_SECONDS = (0.05, 1.1, 3.7)  # longest clip of a batch; the first is below min_samples of a model


def hard_batches(sample_rate: int) -> Iterator[Batch]:
    """Generate sounds of three lengths in batches of two sizes: voices, one cut short, one very quiet, and silence."""
    # Samples beyond a length are not zero: the model must ignore them.
    for seconds in _SECONDS:
        size = round(seconds * sample_rate)
        voices = [voice(sample_rate, size, seed) for seed in range(4)]
        yield voices[0][None], np.array([size])
        hard = np.stack([*voices[:3], 1e-4 * voices[3], np.zeros_like(voices[0])])
        yield hard, np.array([size, size * 3 // 5, 1 + size // 50, size - 1, size])


def generated_voices(sample_rate: int) -> Iterator[Batch]:
    """Generate 32 voices of 3 s, one at a time. Arguments and results are those of `hard_batches`."""
    size = round(3.0 * sample_rate)
    for seed in range(32):
        yield voice(sample_rate, size, seed)[None], np.array([size])


def voice(sample_rate: int, size: int, seed: int) -> NDArray[np.float32]:
    """Generate a sound with pitch, pauses, a changing spectrum and noise: (size,) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    time = np.arange(size) / sample_rate
    pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    numbers = np.arange(1, 16)
    dark, bright = np.stack([numbers**-1.5, numbers**-0.8]) @ np.sin(numbers[:, None] * phase)
    brightness = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(1, 4) * time)
    syllables = np.clip(1.5 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * time + rng.uniform(0, 6)), 0, 1)
    loudness = rng.uniform(0.05, 0.2)
    samples = loudness * syllables * (dark + brightness * (bright - dark)) + 0.002 * rng.standard_normal(size)
    return samples.clip(-1, 1).astype(np.float32)
