"""Waveforms changed by chance in ways that leave the emotion: level, noise, position, length."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import add_noise

from crossmodal.transforms.masking import length_mask
from crossmodal.transforms.random_transform import RandomTransform, check_number, draw_uniform

_LOWEST_NOISE = 20.0  # Hz; below it the ear and the front ends hear nothing, but brown noise would have all its energy


class WaveformAugmentation(RandomTransform):
    """Base of augmentation of waveforms: draws the clips, lets `augment` change them, and puts them back.

    What comes out is zero beyond each clip's length and within [-1, 1]: a clip that became louder than full scale is
    scaled down as a whole, for clipping would distort it. The input is not modified. In eval mode it is the output.

    Args:
        p: Probability for each clip, from 0 to 1.
    """

    def forward(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            waveform: Waveforms in [-1, 1], of shape (B, 1, T), zero beyond their lengths.
            waveform_length: Length of each in samples, at least 1, int64 of shape (B,).

        Returns:
            Waveforms of shape (B, 1, T') and their lengths of shape (B,). T' is T where lengths stay, and otherwise the
            longest length.
        """
        if not self.training:
            return waveform, waveform_length
        clips = self.draw_clips(len(waveform)).nonzero().squeeze(1).to(waveform.device)
        if len(clips) == 0:
            return waveform, waveform_length
        # Autocast would resample in half precision: sound of 8 bits.
        with torch.autocast(waveform.device.type, enabled=False):
            augmented, length = self.augment(waveform[clips], waveform_length[clips])
        augmented = augmented.masked_fill(~length_mask(length, augmented.shape[-1])[:, None], 0.0)
        augmented = augmented / augmented.abs().amax(dim=-1, keepdim=True).clamp(min=1.0)
        return _put_back(waveform, waveform_length, clips, augmented, length)

    @abstractmethod
    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Change every clip of a batch; shapes as in `forward`. What comes out beyond the lengths is cut off later."""


class RandomGain(WaveformAugmentation):
    """Make a clip louder or quieter by a gain drawn evenly in dB, as if the microphone were nearer or farther.

    A clip is never made louder than full scale.

    Args:
        min_gain_db: Lowest gain in dB.
        max_gain_db: Highest gain in dB.
        p: Probability for each clip.

    Raises:
        ConfigError: A gain beyond 60 dB, or the highest below the lowest.

    Example:
        >>> gain = RandomGain(min_gain_db=-20, max_gain_db=-20, p=1.0)
        >>> gain(torch.full((1, 1, 2), 0.5), torch.tensor([2]))[0]
        tensor([[[0.0500, 0.0500]]])
    """

    def __init__(self, min_gain_db: float = -6.0, max_gain_db: float = 6.0, p: float = 0.5) -> None:
        super().__init__(p)
        check_number("min_gain_db", min_gain_db, -60, 60)
        check_number("max_gain_db", max_gain_db, min_gain_db, 60)
        self.min_gain_db, self.max_gain_db = min_gain_db, max_gain_db

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply each clip by its own factor."""
        gain_db = draw_uniform(self.min_gain_db, self.max_gain_db, len(waveform)).to(waveform)
        return waveform * 10 ** (gain_db[:, None, None] / 20), waveform_length


class AdditiveNoise(WaveformAugmentation):
    """Add coloured noise at a signal-to-noise ratio drawn evenly in dB.

    The power of the noise falls with frequency as ``1 / f ** exponent`` from 20 Hz up, with an exponent drawn for each
    clip: 0 is white, 1 pink, 2 brown. The ratio is exact: it is that of the energies over the clip's own samples,
    pauses included. A silent clip stays silent.

    Args:
        min_snr_db: Lowest ratio in dB, which is the loudest noise.
        max_snr_db: Highest ratio in dB.
        min_exponent: Lowest exponent.
        max_exponent: Highest exponent.
        sample_rate: Of the waveforms, in Hz.
        p: Probability for each clip.

    Raises:
        ConfigError: A ratio beyond 100 dB, an exponent beyond 4, a highest value below its lowest.
    """

    def __init__(
        self,
        min_snr_db: float = 10.0,
        max_snr_db: float = 40.0,
        min_exponent: float = 0.0,
        max_exponent: float = 2.0,
        sample_rate: int = 16000,
        p: float = 0.5,
    ) -> None:
        super().__init__(p)
        check_number("min_snr_db", min_snr_db, -100, 100)
        check_number("max_snr_db", max_snr_db, min_snr_db, 100)
        check_number("min_exponent", min_exponent, -4, 4)
        check_number("max_exponent", max_exponent, min_exponent, 4)
        self.min_snr_db, self.max_snr_db = min_snr_db, max_snr_db
        self.min_exponent, self.max_exponent = min_exponent, max_exponent
        self.sample_rate = sample_rate

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Add to each clip its own noise at its own ratio."""
        snr_db = draw_uniform(self.min_snr_db, self.max_snr_db, len(waveform)).to(waveform)
        noise = self._draw_noise(waveform)
        noise = noise.masked_fill(~length_mask(waveform_length, waveform.shape[-1]), 0.0)  # it would count otherwise
        return add_noise(waveform.squeeze(1), noise, snr_db)[:, None], waveform_length

    def _draw_noise(self, waveform: Tensor) -> Tensor:
        """Draw a random spectrum of the right slope and transform it to time, (B, T)."""
        exponent = draw_uniform(self.min_exponent, self.max_exponent, len(waveform)).to(waveform)
        # At least 0.1 s, so that a very short clip has frequencies to draw; even, as the inverse transform assumes.
        size = max(waveform.shape[-1] + waveform.shape[-1] % 2, 2 * (self.sample_rate // 20))
        frequency = torch.fft.rfftfreq(size, 1 / self.sample_rate, device=waveform.device)
        level = (-exponent[:, None] / 2 * frequency.clamp(min=_LOWEST_NOISE).div(_LOWEST_NOISE).log()).exp()
        level = level * (frequency >= _LOWEST_NOISE)
        spectrum = torch.randn(len(waveform), len(frequency), dtype=torch.cfloat, device=waveform.device)
        return torch.fft.irfft(spectrum * level, size)[:, : waveform.shape[-1]]


class TimeShift(WaveformAugmentation):
    """Move the sound within its clip, to the left or right. Zeros come in; what moves beyond an end is lost.

    Args:
        max_shift: Furthest, as a share of the clip's length. The pauses before and after the sentences of RAVDESS are
            longer than the default moves them.
        p: Probability for each clip.

    Raises:
        ConfigError: The share is not from 0 to 1.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> TimeShift(max_shift=0.5, p=1.0)(torch.tensor([[[0.1, 0.2, 0.3, 0.4]]]), torch.tensor([4]))[0]
        tensor([[[0.0000, 0.1000, 0.2000, 0.3000]]])
    """

    def __init__(self, max_shift: float = 0.1, p: float = 0.5) -> None:
        super().__init__(p)
        check_number("max_shift", max_shift, 0, 1)
        self.max_shift = max_shift

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Copy each clip to its new place."""
        share = draw_uniform(-self.max_shift, self.max_shift, len(waveform)).tolist()
        moved = torch.zeros_like(waveform)
        for clip, (part, length) in enumerate(zip(share, waveform_length.tolist(), strict=True)):
            shift = round(part * length)
            kept = waveform[clip, 0, max(-shift, 0) : length - max(shift, 0)]
            start = max(shift, 0)
            moved[clip, 0, start : start + len(kept)] = kept
        return moved, waveform_length


class RandomCrop(WaveformAugmentation):
    """Keep a part of a clip in one piece, of a share and at a place drawn evenly. The clip becomes shorter.

    Args:
        min_share: Smallest part that is kept, as a share of the clip's length.
        p: Probability for each clip.

    Raises:
        ConfigError: The share is not from 0 to 1.
    """

    def __init__(self, min_share: float = 0.7, p: float = 0.5) -> None:
        super().__init__(p)
        check_number("min_share", min_share, 0, 1)
        self.min_share = min_share

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Cut each clip, never to nothing."""
        shares = draw_uniform(self.min_share, 1.0, len(waveform)).tolist()
        places = draw_uniform(0.0, 1.0, len(waveform)).tolist()
        parts = []
        for clip, length, share, place in zip(waveform, waveform_length.tolist(), shares, places, strict=True):
            kept = max(round(share * length), 1)
            start = round(place * max(length - kept, 0))
            parts.append(clip[0, start : start + kept])
        kept_length = waveform_length.new_tensor([len(part) for part in parts])
        return pad_sequence(parts, batch_first=True)[:, None], kept_length


def _put_back(
    waveform: Tensor, waveform_length: Tensor, clips: Tensor, augmented: Tensor, augmented_length: Tensor
) -> tuple[Tensor, Tensor]:
    """Put changed clips, by their indices, into a copy of the batch they are from."""
    length = waveform_length.index_copy(0, clips, augmented_length)
    same_size = augmented.shape[-1] == waveform.shape[-1]
    size = waveform.shape[-1] if same_size else int(length.max())
    if len(clips) == len(waveform):
        return augmented[..., :size], length
    # Padding by a negative number cuts.
    together = F.pad(waveform, (0, size - waveform.shape[-1]))
    return together.index_copy(0, clips, F.pad(augmented, (0, size - augmented.shape[-1]))), length
