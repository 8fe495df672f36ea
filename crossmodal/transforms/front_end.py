"""From a waveform to features per audio frame, of those audio frames in which there is something to hear.

A clip's features depend on nothing but the clip. Two things make it so. The ends are padded with zeros, which is what a
batch pads with; a reflection would differ. And the loudest value, from which ``top_db`` counts, is sought among the
clip's own audio frames; torchaudio seeks it in the whole batch, where a loud clip changes a quiet one.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import compute_deltas, create_dct
from torchaudio.transforms import MelSpectrogram

from crossmodal.errors import ConfigError
from crossmodal.transforms.masking import length_mask

_MIN_POWER = 1e-10  # -100 dB, the floor of librosa and torchaudio


class LogMelFilterBank(nn.Module):
    """Energy in mel bands, in dB: one column per ``hop_length`` samples.

    Equal to librosa's ``power_to_db(melspectrogram(htk=True, norm=None, pad_mode="constant"))``.

    Args:
        sample_rate: Samples per second of the waveform.
        n_fft: Length of the Fourier transform in samples.
        win_length: Length of the Hann window in samples; the default is 25 ms at 16 kHz.
        hop_length: Samples from one audio frame to the next; the default is 10 ms at 16 kHz.
        n_mels: Number of mel bands.
        f_min: Lowest frequency in Hz.
        f_max: Highest frequency in Hz; half the sample rate if not given.
        top_db: How far, in dB, a value may lie below the loudest of its clip; no limit if None.
        energy: Whether a row with the energy of the waveform, in dB, stands below the bands: 10 log10 of the mean
            square over ``win_length`` samples, as librosa's ``rms`` squared.
        deltas: How many times the whole is followed by its slope over time: 1 adds deltas, 2 also their deltas
            (regression over five frames, as in HTK; torchaudio's ``compute_deltas``).
        silence_db: How far, in dB, the energy of an audio frame may lie below the loudest of its clip; quieter ones are
            left out after deltas are computed. None keeps all. Silence says more about the room than about the voice,
            and a half of a RAVDESS clip is silence before and after the sentence.

    Attributes:
        num_features: Height of the output.
        num_layers: How many layers of a network the features are of; here there is none, and one set of features.

    Raises:
        ConfigError: The window is longer than the transform, the frequencies do not fit the sample rate, or deltas are
            not 0, 1 or 2.

    Example:
        >>> front_end = LogMelFilterBank(n_mels=64)
        >>> features, length = front_end(torch.randn(2, 1, 16000))
        >>> features.shape, length
        (torch.Size([2, 64, 101]), tensor([101, 101]))
    """

    num_layers: ClassVar[int] = 1
    rebuild_kwargs: ClassVar[dict[str, Any]] = {}  # nothing of its arguments lies in a file

    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        n_mels: int = 64,
        f_min: float = 20.0,
        f_max: float | None = None,
        top_db: float | None = 80.0,
        energy: bool = False,
        deltas: int = 0,
        silence_db: float | None = 30.0,
    ) -> None:
        super().__init__()
        f_max = sample_rate / 2 if f_max is None else f_max
        if win_length > n_fft:
            raise ConfigError(f"win_length ({win_length}) must not exceed n_fft ({n_fft}).")
        if not 0 <= f_min < f_max <= sample_rate / 2:
            raise ConfigError(
                f"Frequencies must satisfy 0 <= f_min < f_max <= sample_rate / 2, "
                f"got f_min={f_min}, f_max={f_max}, sample_rate={sample_rate}."
            )
        if deltas not in (0, 1, 2):
            raise ConfigError(f"deltas must be 0, 1 (deltas) or 2 (deltas and their deltas), got {deltas}.")
        self.hop_length, self.win_length = hop_length, win_length
        self.top_db, self.silence_db = top_db, silence_db
        self.energy, self.deltas = energy, deltas
        self.mel_spectrogram = MelSpectrogram(
            sample_rate, n_fft, win_length, hop_length, f_min, f_max, n_mels=n_mels, center=True, pad_mode="constant"
        )

    @property
    def num_features(self) -> int:
        """Height of the output."""
        return (self._num_rows + self.energy) * (1 + self.deltas)

    @property
    def _num_rows(self) -> int:
        return self.mel_spectrogram.n_mels

    def num_audio_frames(self, waveform_length: Tensor) -> Tensor:
        """Count the audio frames of waveforms of so many samples, silent ones too, both of shape (B,)."""
        return 1 + waveform_length // self.hop_length

    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the features, in float32 under autocast too: energies span more than half precision holds.

        Args:
            waveform: Waveforms of shape (B, 1, T), zero beyond their lengths.
            waveform_length: Length of each in samples, of shape (B,); T for all if not given.

        Returns:
            Features of shape (B, num_features, audio frames), and how many of the audio frames are each clip's own, of
            shape (B,).
        """
        if waveform_length is None:
            waveform_length = torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
        length = self.num_audio_frames(waveform_length)
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            features = self._from_log_mel(self._clip_floor(self._log_mel(waveform.squeeze(1)), length))
            energy = self._energy(waveform)
            if self.energy:
                features = torch.cat([features, self._clip_floor(energy, length)], dim=1)
            features = _append_deltas(features, length, self.deltas)
            if self.silence_db is None:
                return features, length
            return _leave_out_silence(features, length, energy.squeeze(1), self.silence_db)

    def _log_mel(self, waveform: Tensor) -> Tensor:
        """What `mel_spectrogram` computes, in dB and in half the time: it takes a root only to square it again."""
        transform = self.mel_spectrogram.spectrogram
        spectrum = torch.stft(
            waveform,
            transform.n_fft,
            transform.hop_length,
            transform.win_length,
            transform.window,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return _decibels(self.mel_spectrogram.mel_scale.fb.T @ power)

    def _from_log_mel(self, log_mel: Tensor) -> Tensor:
        return log_mel

    def _energy(self, waveform: Tensor) -> Tensor:
        left = self.win_length // 2
        padded = F.pad(waveform.square(), (left, self.win_length - left))
        return _decibels(F.avg_pool1d(padded, self.win_length, self.hop_length))

    def _clip_floor(self, decibels: Tensor, length: Tensor) -> Tensor:
        if self.top_db is None:
            return decibels
        # The frame after the last can be louder than every own frame: it is centred beyond the end, but hears it.
        mask = length_mask(length, decibels.shape[-1])
        loudest = decibels.masked_fill(~mask[:, None], -torch.inf).amax(dim=(1, 2), keepdim=True)
        return torch.maximum(decibels, loudest - self.top_db)


class MFCC(LogMelFilterBank):
    """Mel-frequency cepstral coefficients: the cosine transform (orthonormal DCT-II) of the log-mel filter bank.

    Equal to librosa's ``mfcc`` with the settings named at `LogMelFilterBank`.

    Args:
        sample_rate: Samples per second of the waveform.
        n_mfcc: Number of coefficients, from the zeroth on.
        n_fft: Length of the Fourier transform in samples.
        win_length: Length of the Hann window in samples.
        hop_length: Samples from one audio frame to the next.
        n_mels: Number of mel bands.
        f_min: Lowest frequency in Hz.
        f_max: Highest frequency in Hz; half the sample rate if not given.
        top_db: How far, in dB, a band may lie below the loudest of its clip; no limit if None.
        energy: Whether a row with the energy of the waveform, in dB, is added.
        deltas: How many times the whole is followed by its slope over time: 0, 1 or 2.
        silence_db: How far, in dB, an audio frame may lie below the loudest of its clip; no limit if None.

    Raises:
        ConfigError: More coefficients than mel bands, or as for `LogMelFilterBank`.

    Example:
        >>> front_end = MFCC(n_mfcc=40, deltas=2)
        >>> front_end(torch.randn(2, 1, 16000))[0].shape
        torch.Size([2, 120, 101])
    """

    dct: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mfcc: int = 40,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        n_mels: int = 64,
        f_min: float = 20.0,
        f_max: float | None = None,
        top_db: float | None = 80.0,
        energy: bool = False,
        deltas: int = 0,
        silence_db: float | None = 30.0,
    ) -> None:
        super().__init__(
            sample_rate, n_fft, win_length, hop_length, n_mels, f_min, f_max, top_db, energy, deltas, silence_db
        )
        if n_mfcc > n_mels:
            raise ConfigError(f"n_mfcc ({n_mfcc}) must not exceed n_mels ({n_mels}).")
        self.register_buffer("dct", create_dct(n_mfcc, n_mels, norm="ortho").T.contiguous())

    @property
    def _num_rows(self) -> int:
        return len(self.dct)

    def _from_log_mel(self, log_mel: Tensor) -> Tensor:
        return self.dct @ log_mel


class MFCCAndLogMel(MFCC):
    """MFCC above the log-mel filter bank that they are made of.

    An encoder gets the one decorrelated and the other local in frequency, for the price of one. The arguments are those
    of `MFCC`.

    Example:
        >>> front_end = MFCCAndLogMel(n_mfcc=40, n_mels=64)
        >>> front_end(torch.randn(2, 1, 16000))[0].shape
        torch.Size([2, 104, 101])
    """

    @property
    def _num_rows(self) -> int:
        return len(self.dct) + self.mel_spectrogram.n_mels

    def _from_log_mel(self, log_mel: Tensor) -> Tensor:
        return torch.cat([self.dct @ log_mel, log_mel], dim=1)


def _decibels(power: Tensor) -> Tensor:
    return 10 * power.clamp(min=_MIN_POWER).log10()


def _append_deltas(features: Tensor, length: Tensor, order: int) -> Tensor:
    """Features of shape (B, F, frames) with their slopes below them, (B, F * (1 + order), frames).

    A slope looks two frames ahead. Beyond a clip's end it sees the last own frame again, as it does at a tensor's edge.
    """
    own = torch.arange(features.shape[-1], device=features.device).clamp(max=length[:, None] - 1)
    rows = [features]
    for _ in range(order):
        held = rows[-1].gather(2, own[:, None].expand_as(features))
        rows.append(compute_deltas(held, win_length=5))
    return torch.cat(rows, dim=1)


def _leave_out_silence(features: Tensor, length: Tensor, energy: Tensor, silence_db: float) -> tuple[Tensor, Tensor]:
    """Move up what follows a silent frame; `energy` is in dB, of shape (B, frames). The loudest frame always stays."""
    own = length_mask(length, features.shape[-1])
    loudest = energy.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
    # Not ">=": a clip with NaN in it keeps all its frames, so that the NaN reaches whoever asks.
    heard = own & ~(energy < loudest - silence_db)
    order = (~heard).to(torch.uint8).argsort(dim=1, stable=True)[:, None]
    length = heard.sum(dim=1)
    return features.gather(2, order.expand_as(features))[..., : int(length.max())], length
