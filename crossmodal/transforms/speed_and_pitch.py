"""Random changes of the speed and pitch of waveforms."""

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


class PitchPerturbation(WaveformAugmentation):
    """Shift the pitch by 1 to `max_semitones` (at most 12) whole semitones, up or down, and keep the duration.

    A phase vocoder stretches the clip (Flanagan and Golden, "Phase vocoder", Bell System Technical Journal 1966), and
    resampling restores its length. The energy is preserved. Formants are shifted with the pitch, as if the speaker were
    smaller or larger. This is the most expensive augmentation: four times as long as the front end.
    """

    def __init__(self, max_semitones: int = 2, sample_rate: int = 16000, p: float = 0.5) -> None:
        super().__init__(p)
        self.max_semitones = check_number("max_semitones", max_semitones, 1, 12, whole=True)
        self.sample_rate = sample_rate

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Shift the clips, one batch for each number of semitones."""
        size = torch.randint(1, self.max_semitones + 1, (len(waveform),))
        semitones = torch.where(torch.rand(len(waveform)) < 0.5, -size, size)
        shifted = torch.empty_like(waveform)
        for steps, clips in _group_by_value(semitones):
            shifted[clips, 0] = _shift_pitch(waveform[clips, 0], _small_ratio(2 ** (steps / 12)), self._n_fft)
        shifted = shifted.masked_fill(~length_mask(waveform_length, waveform.shape[-1])[:, None], 0.0)
        # A vocoder reduces the level of a voice by about 3 dB, and loudness is a cue of emotion.
        before, after = (torch.linalg.vector_norm(audio, dim=-1, keepdim=True) for audio in (waveform, shifted))
        return shifted * (before / after.clamp(min=1e-12)), waveform_length

    @property
    def _n_fft(self) -> int:
        return 1 << (int(0.032 * self.sample_rate) - 1).bit_length()


def _group_by_value(values: Tensor) -> Iterator[tuple[int, list[int]]]:
    """Yield each unique value with the indices of its clips."""
    for value in values.unique().tolist():
        yield value, (values == value).nonzero().squeeze(1).tolist()


def _small_ratio(factor: float) -> Fraction:
    return Fraction(factor).limit_denominator(_MAX_DENOMINATOR)


def _shift_pitch(waveform: Tensor, ratio: Fraction, n_fft: int) -> Tensor:
    """Multiply every frequency of waveforms (B, T) by a ratio."""
    # `torchaudio.functional.pitch_shift` takes seconds for one clip, because it resamples by ratios of large numbers.
    size = waveform.shape[-1]
    window = torch.hann_window(n_fft, dtype=waveform.dtype, device=waveform.device)
    hop_length = n_fft // 4
    # Zeros at both ends, and every frame that overlaps the clip, so that its end does not depend on the batch.
    padded = F.pad(waveform, (0, n_fft))
    spectrum = torch.stft(
        padded, n_fft, hop_length, window=window, center=True, pad_mode="constant", return_complex=True
    )
    # Extend beyond the end, because the resampler uses some later samples.
    stretched_size = -(-(size + hop_length) * ratio.numerator // ratio.denominator)
    stretched = torch.istft(
        _stretch(spectrum, ratio), n_fft, hop_length, window=window, center=True, length=stretched_size
    )
    return resample(stretched, ratio.numerator, ratio.denominator)[:, :size]


def _stretch(spectrum: Tensor, ratio: Fraction) -> Tensor:
    """Stretch a spectrum (B, frequencies, frames) in time by a ratio, like `torchaudio.functional.phase_vocoder`."""
    # Several times as fast: it multiplies phases as complex numbers of magnitude 1, without converting them to angles.
    frames = spectrum.permute(2, 0, 1)
    times = torch.arange(-(-len(frames) * ratio.numerator // ratio.denominator), device=spectrum.device)
    previous = times * ratio.denominator // ratio.numerator
    share = (times * ratio.denominator % ratio.numerator / ratio.numerator).to(spectrum.real)[:, None, None]

    magnitude = _append_silence(frames.abs())
    phase = _append_silence(frames.sgn())
    phase = torch.where(phase == 0, 1.0, phase)  # silence has no phase, and a zero would persist in the product
    advance = phase[1:] * phase[:-1].conj()  # from one frame to the next
    phases = torch.cat([phase[:1], advance[previous[:-1]]]).cumprod(dim=0)
    return (torch.lerp(magnitude[previous], magnitude[previous + 1], share) * phases).permute(1, 2, 0)


def _append_silence(frames: Tensor) -> Tensor:
    """Append a silent frame."""
    return torch.cat([frames, torch.zeros_like(frames[:1])])
