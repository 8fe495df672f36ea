"""Waveform augmentation that preserves the emotion: level, noise, position and length."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import add_noise

from crossmodal.transforms.masking import length_mask
from crossmodal.transforms.random_transform import RandomTransform, check_number, draw_uniform

_LOWEST_NOISE = 20.0  # Hz; lower frequencies are inaudible, but would hold most of the energy of brown noise


class WaveformAugmentation(RandomTransform):
    """Base class of waveform augmentation, which applies `augment` to random clips of a batch, in training only.

    The output is zero beyond each clip's length and within [-1, 1]: a clip that exceeds full scale is scaled down as a
    whole, because clipping would distort it. The input is not modified.
    """

    def forward(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Augment waveforms in [-1, 1], (B, 1, T), zero beyond their int64 lengths in samples, (B,); T may change."""
        if not self.training:
            return waveform, waveform_length
        clips = self.draw_clips(len(waveform)).nonzero().squeeze(1).to(waveform.device)
        if len(clips) == 0:
            return waveform, waveform_length
        # Autocast would resample in half precision, which is like 8-bit audio.
        with torch.autocast(waveform.device.type, enabled=False):
            augmented, length = self.augment(waveform[clips], waveform_length[clips])
        augmented = augmented.masked_fill(~length_mask(length, augmented.shape[-1])[:, None], 0.0)
        augmented = augmented / augmented.abs().amax(dim=-1, keepdim=True).clamp(min=1.0)
        new_length = waveform_length.index_copy(0, clips, length)
        size = waveform.shape[-1] if augmented.shape[-1] == waveform.shape[-1] else int(new_length.max())
        # Padding by a negative number crops.
        waveform, augmented = (F.pad(audio, (0, size - audio.shape[-1])) for audio in (waveform, augmented))
        return waveform.index_copy(0, clips, augmented), new_length

    @abstractmethod
    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Augment every clip of a batch; shapes as in `forward`. Output beyond the lengths is set to zero later."""


class RandomGain(WaveformAugmentation):
    """Multiply a clip by a gain drawn uniformly in dB, as if the microphone were nearer or farther."""

    def __init__(self, min_gain_db: float = -6.0, max_gain_db: float = 6.0, p: float = 0.5) -> None:
        super().__init__(p)
        self.min_gain_db = check_number("min_gain_db", min_gain_db, -60, 60)
        self.max_gain_db = check_number("max_gain_db", max_gain_db, min_gain_db, 60)

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply each clip by a random gain."""
        gain_db = draw_uniform(self.min_gain_db, self.max_gain_db, len(waveform)).to(waveform)
        return waveform * 10 ** (gain_db[:, None, None] / 20), waveform_length


class AdditiveNoise(WaveformAugmentation):
    """Add coloured noise at a signal-to-noise ratio drawn uniformly in dB.

    The power of the noise falls with frequency as ``1 / f ** exponent`` from 20 Hz up, with an exponent drawn for each
    clip: 0 is white, 1 pink, 2 brown. The ratio is that of the energies over the clip, including pauses. A silent clip
    stays silent.
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
        self.min_snr_db = check_number("min_snr_db", min_snr_db, -100, 100)
        self.max_snr_db = check_number("max_snr_db", max_snr_db, min_snr_db, 100)
        self.min_exponent = check_number("min_exponent", min_exponent, -4, 4)
        self.max_exponent = check_number("max_exponent", max_exponent, min_exponent, 4)
        self.sample_rate = sample_rate

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Add random noise to each clip at a random ratio."""
        snr_db = draw_uniform(self.min_snr_db, self.max_snr_db, len(waveform)).to(waveform)
        noise = self._draw_noise(waveform)
        noise = noise.masked_fill(~length_mask(waveform_length, waveform.shape[-1]), 0.0)  # keeps the ratio exact
        return add_noise(waveform.squeeze(1), noise, snr_db)[:, None], waveform_length

    def _draw_noise(self, waveform: Tensor) -> Tensor:
        """Draw a random spectrum with a random slope and transform it to time, of shape (B, T)."""
        exponent = draw_uniform(self.min_exponent, self.max_exponent, len(waveform)).to(waveform)
        # At least 0.1 s, for enough frequencies in a very short clip; even, as the inverse transform assumes.
        size = max(waveform.shape[-1] + waveform.shape[-1] % 2, 2 * (self.sample_rate // 20))
        frequency = torch.fft.rfftfreq(size, 1 / self.sample_rate, device=waveform.device)
        level = (-exponent[:, None] / 2 * frequency.clamp(min=_LOWEST_NOISE).div(_LOWEST_NOISE).log()).exp()
        level = level * (frequency >= _LOWEST_NOISE)
        spectrum = torch.randn(len(waveform), len(frequency), dtype=torch.cfloat, device=waveform.device)
        return torch.fft.irfft(spectrum * level, size)[:, : waveform.shape[-1]]


class RandomCrop(WaveformAugmentation):
    """Crop a clip to at least a fraction `min_share` of its length; length and position are drawn uniformly."""

    def __init__(self, min_share: float = 0.7, p: float = 0.5) -> None:
        super().__init__(p)
        self.min_share = check_number("min_share", min_share, 0, 1)

    def augment(self, waveform: Tensor, waveform_length: Tensor) -> tuple[Tensor, Tensor]:
        """Crop each clip to at least one sample."""
        shares = draw_uniform(self.min_share, 1.0, len(waveform)).tolist()
        positions = draw_uniform(0.0, 1.0, len(waveform)).tolist()
        crops = []
        for clip, length, share, position in zip(waveform, waveform_length.tolist(), shares, positions, strict=True):
            size = max(round(share * length), 1)
            start = round(position * max(length - size, 0))
            crops.append(clip[0, start : start + size])
        crop_length = waveform_length.new_tensor([len(crop) for crop in crops])
        return pad_sequence(crops, batch_first=True)[:, None], crop_length
