"""Random changes of the speed of waveforms."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import resample

from crossmodal.errors import ConfigError
from crossmodal.transforms.augmentation import WaveformAugmentation
from crossmodal.transforms.random_transform import check_number

# The resampler's filters grow with numerator and denominator: 11/10 is cheap, 16951/16000 needs a gigabyte.
_MAX_DENOMINATOR = 50


class SpeedPerturbation(WaveformAugmentation):
    """Change the speed of a clip, and with it tempo, pitch and length, by a factor drawn from `factors`, 0.5 to 2.

    Ko, Peddinti, Povey and Khudanpur, "Audio augmentation for speech recognition", Interspeech 2015. Each factor is
    rounded to the nearest ratio with a denominator of at most 50, so multiples of 0.05 or 0.02 are exact. The default
    `p` is 1 as in the paper, whose factors include 1.0.
    """

    def __init__(self, factors: Sequence[float] = (0.9, 1.0, 1.1), p: float = 1.0) -> None:
        super().__init__(p)
        if isinstance(factors, str) or not isinstance(factors, Sequence) or not factors:
            raise ConfigError(f"factors must be a list of at least one number, got {factors!r}.")
        for factor in factors:
            check_number("Each factor", factor, 0.5, 2)
        self.factors = tuple(factors)

    def draw(self, batch_size: int) -> list[float]:
        """Draw a factor for each clip, 1.0 for those that are not changed; `forward` draws and applies them."""
        changes = self.draw_clips(batch_size).tolist()
        indices = torch.randint(len(self.factors), (batch_size,)).tolist()
        return [self.factors[index] if change else 1.0 for change, index in zip(changes, indices, strict=True)]

    def play(self, waveform: Tensor, waveform_length: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """Change the speed of every clip of a batch by the same factor; shapes as in `forward`."""
        ratio = _small_ratio(factor)
        faster = resample(waveform, ratio.numerator, ratio.denominator)
        return faster, -(-waveform_length * ratio.denominator // ratio.numerator)

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Resample the clips, one batch for each factor."""
        indices = torch.randint(len(self.factors), (len(waveform),))
        lengths = waveform_length.tolist()
        clips = list(waveform.squeeze(1))
        for index, group in _group_by_value(indices):
            longest = max(lengths[clip] for clip in group)
            faster, length = self.play(waveform[group, :, :longest], waveform_length[group], self.factors[index])
            for clip, samples, size in zip(group, faster.squeeze(1), length.tolist(), strict=True):
                lengths[clip] = size
                clips[clip] = samples
        cropped = [samples[:size] for samples, size in zip(clips, lengths, strict=True)]
        return pad_sequence(cropped, batch_first=True)[:, None], waveform_length.new_tensor(lengths)


def _group_by_value(values: Tensor) -> Iterator[tuple[int, list[int]]]:
    """Yield each unique value with the indices of its clips."""
    for value in values.unique().tolist():
        yield value, (values == value).nonzero().squeeze(1).tolist()


def _small_ratio(factor: float) -> Fraction:
    return Fraction(factor).limit_denominator(_MAX_DENOMINATOR)
