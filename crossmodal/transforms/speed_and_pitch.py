"""Waveforms made faster, slower, higher or lower by chance."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import resample

from crossmodal.errors import ConfigError
from crossmodal.transforms.augmentation import WaveformAugmentation
from crossmodal.transforms.masking import length_mask
from crossmodal.transforms.random_transform import check_number

# The resampler's filters grow with the numbers of the ratio: 11/10 costs little, 16951/16000 a gigabyte.
_MAX_DENOMINATOR = 50


class SpeedPerturbation(WaveformAugmentation):
    """Play a clip faster or slower: tempo and pitch change together, and the length with them.

    Ko, Peddinti, Povey and Khudanpur, "Audio augmentation for speech recognition", Interspeech 2015.

    Args:
        factors: One of these is drawn for each clip, from 0.5 to 2; at 1.1 it is 1.1 times as fast and as high. Each is
            rounded to the nearest ratio with a denominator of at most 50, which steps of 0.05 or 0.02 are.
        p: Probability for each clip that a factor is drawn at all; 1 as in the paper, whose factors include 1.0.

    Raises:
        ConfigError: There is no factor, or one out of range.

    Example:
        >>> faster = SpeedPerturbation(factors=[1.25])
        >>> faster(torch.rand(2, 1, 1000), torch.tensor([1000, 500]))[1]
        tensor([800, 400])
    """

    def __init__(self, factors: Sequence[float] = (0.9, 1.0, 1.1), p: float = 1.0) -> None:
        super().__init__(p)
        if isinstance(factors, str) or not isinstance(factors, Sequence) or not factors:
            raise ConfigError(f"factors must be a list of at least one number, got {factors!r}.")
        for factor in factors:
            check_number("A factor", factor, 0.5, 2)
        self.factors = tuple(factors)

    def draw(self, batch_size: int) -> list[float]:
        """Draw a factor for each clip, 1.0 for those that are left alone: what `forward` does in one go."""
        changed = self.draw_clips(batch_size).tolist()
        drawn = torch.randint(len(self.factors), (batch_size,)).tolist()
        return [self.factors[index] if change else 1.0 for change, index in zip(changed, drawn, strict=True)]

    def play(self, waveform: Tensor, waveform_length: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """Play every clip of a batch at one speed; shapes as in `forward`."""
        ratio = _small_ratio(factor)
        faster = resample(waveform, ratio.numerator, ratio.denominator)
        return faster, -(-waveform_length * ratio.denominator // ratio.numerator)

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Resample the clips, those of a factor together."""
        drawn = torch.randint(len(self.factors), (len(waveform),))
        lengths = waveform_length.tolist()
        parts = list(waveform.squeeze(1))
        for index, clips in _by_value(drawn):
            longest = max(lengths[clip] for clip in clips)
            faster, played = self.play(waveform[clips, :, :longest], waveform_length[clips], self.factors[index])
            for clip, samples, length in zip(clips, faster.squeeze(1), played.tolist(), strict=True):
                lengths[clip] = length
                parts[clip] = samples
        cut = [samples[:length] for samples, length in zip(parts, lengths, strict=True)]
        return pad_sequence(cut, batch_first=True)[:, None], waveform_length.new_tensor(lengths)


class PitchPerturbation(WaveformAugmentation):
    """Make a clip higher or lower by whole semitones, and keep its duration.

    A phase vocoder stretches the clip (Flanagan and Golden, "Phase vocoder", Bell System Technical Journal 1966), and
    resampling brings it back to its length. Its energy is kept. Formants move along with the pitch, as if the speaker
    were smaller or larger. By far the dearest augmentation: 32 clips of 3.7 s take some 0.2 s of one core, four times
    as long as the front end.

    Args:
        max_semitones: Furthest, from 1 to 12; up or down as many semitones as drawn, but not zero.
        sample_rate: Of the waveforms, in Hz; the windows last about 32 ms.
        p: Probability for each clip.

    Raises:
        ConfigError: `max_semitones` is out of range or not whole.
    """

    def __init__(self, max_semitones: int = 2, sample_rate: int = 16000, p: float = 0.5) -> None:
        super().__init__(p)
        check_number("max_semitones", max_semitones, 1, 12, whole=True)
        self.max_semitones = max_semitones
        self.sample_rate = sample_rate

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Shift the clips, those of the same number of semitones together."""
        size = torch.randint(1, self.max_semitones + 1, (len(waveform),))
        semitones = torch.where(torch.rand(len(waveform)) < 0.5, -size, size)
        shifted = torch.empty_like(waveform)
        for steps, clips in _by_value(semitones):
            shifted[clips, 0] = _shift_pitch(waveform[clips, 0], _small_ratio(2 ** (steps / 12)), self._n_fft)
        shifted = shifted.masked_fill(~length_mask(waveform_length, waveform.shape[-1])[:, None], 0.0)
        # A vocoder loses some 3 dB of a voice, and loudness is a sign of emotion.
        before, after = (torch.linalg.vector_norm(sound, dim=-1, keepdim=True) for sound in (waveform, shifted))
        return shifted * (before / after.clamp(min=1e-12)), waveform_length

    @property
    def _n_fft(self) -> int:
        return 1 << (int(0.032 * self.sample_rate) - 1).bit_length()


def _by_value(drawn: Tensor) -> Iterator[tuple[int, list[int]]]:
    """Group clips by what was drawn for them: each value with the indices of its clips."""
    for value in drawn.unique().tolist():
        yield value, (drawn == value).nonzero().squeeze(1).tolist()


def _small_ratio(factor: float) -> Fraction:
    return Fraction(factor).limit_denominator(_MAX_DENOMINATOR)


def _shift_pitch(waveform: Tensor, ratio: Fraction, n_fft: int) -> Tensor:
    """Multiply every frequency of waveforms (B, T) by a ratio.

    It does what `torchaudio.functional.pitch_shift` does, which takes seconds for one clip, as its resampler meets
    ratios of large numbers.
    """
    size = waveform.shape[-1]
    window = torch.hann_window(n_fft, dtype=waveform.dtype, device=waveform.device)
    hop_length = n_fft // 4
    # Zeros at both ends, and every frame that hears the clip: then its end does not depend on what it is batched with.
    padded = F.pad(waveform, (0, n_fft))
    spectrum = torch.stft(
        padded, n_fft, hop_length, window=window, center=True, pad_mode="constant", return_complex=True
    )
    # A little beyond the end, for the resampler hears some samples ahead.
    stretched_size = -(-(size + hop_length) * ratio.numerator // ratio.denominator)
    stretched = torch.istft(
        _stretch(spectrum, ratio), n_fft, hop_length, window=window, center=True, length=stretched_size
    )
    return resample(stretched, ratio.numerator, ratio.denominator)[:, :size]


def _stretch(spectrum: Tensor, ratio: Fraction) -> Tensor:
    """Make a spectrum (B, frequencies, frames) longer by a ratio at the same pitch: a phase vocoder.

    It equals `torchaudio.functional.phase_vocoder`, and is several times as fast, because phases are multiplied as
    complex numbers of size 1 in place of being taken apart into angles, added, and put together.
    """
    frames = spectrum.permute(2, 0, 1)
    times = torch.arange(-(-len(frames) * ratio.numerator // ratio.denominator), device=spectrum.device)
    before = times * ratio.denominator // ratio.numerator
    share = (times * ratio.denominator % ratio.numerator / ratio.numerator).to(spectrum.real)[:, None, None]

    magnitude = _with_end(frames.abs())
    phase = _with_end(frames.sgn())
    phase = torch.where(phase == 0, 1.0, phase)  # silence has no phase; a zero would stay in the product
    turn = phase[1:] * phase[:-1].conj()  # from one frame to the next
    phases = torch.cat([phase[:1], turn[before[:-1]]]).cumprod(dim=0)
    return (torch.lerp(magnitude[before], magnitude[before + 1], share) * phases).permute(1, 2, 0)


def _with_end(frames: Tensor) -> Tensor:
    """Add a frame of silence, which follows the last."""
    return torch.cat([frames, torch.zeros_like(frames[:1])])
