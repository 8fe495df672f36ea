"""From a waveform to features per audio frame.

A clip's features depend on nothing but the clip. Two things make it so. The ends are padded with zeros, which is what a
batch pads with; a reflection would differ. And the loudest value, from which ``top_db`` counts, is sought among the
clip's own audio frames; torchaudio seeks it in the whole batch, where a loud clip changes a quiet one.
"""

import torch
from torch import Tensor, nn
from torchaudio.functional import create_dct
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

    Attributes:
        num_features: Height of the output.

    Raises:
        ConfigError: The window is longer than the transform, or the frequencies do not fit the sample rate.

    Example:
        >>> front_end = LogMelFilterBank(n_mels=64)
        >>> front_end(torch.randn(2, 1, 16000)).shape
        torch.Size([2, 64, 101])
    """

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
        self.hop_length = hop_length
        self.top_db = top_db
        self.num_features = n_mels
        self.mel_spectrogram = MelSpectrogram(
            sample_rate, n_fft, win_length, hop_length, f_min, f_max, n_mels=n_mels, center=True, pad_mode="constant"
        )

    def num_audio_frames(self, waveform_length: Tensor) -> Tensor:
        """Count the audio frames of waveforms of so many samples, both of shape (B,)."""
        return 1 + waveform_length // self.hop_length

    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> Tensor:
        """Compute the features, in float32 under autocast too: energies span more than half precision holds.

        Args:
            waveform: Waveforms of shape (B, 1, T), zero beyond their lengths.
            waveform_length: Length of each in samples, of shape (B,); T for all if not given.

        Returns:
            Features of shape (B, num_features, audio frames). Those of the first ``num_audio_frames(waveform_length)``
            frames are the clip's own.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            power = self.mel_spectrogram(waveform.float().squeeze(1))
            return self._clip_floor(10 * power.clamp(min=_MIN_POWER).log10(), waveform_length)

    def _clip_floor(self, decibels: Tensor, waveform_length: Tensor | None) -> Tensor:
        if self.top_db is None:
            return decibels
        own = decibels
        if waveform_length is not None:
            # The frame after the last can be louder than every own frame: it is centred beyond the end, but hears it.
            mask = length_mask(self.num_audio_frames(waveform_length), decibels.shape[-1])
            own = decibels.masked_fill(~mask[:, None], -torch.inf)
        return torch.maximum(decibels, own.amax(dim=(1, 2), keepdim=True) - self.top_db)


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

    Raises:
        ConfigError: More coefficients than mel bands, or as for `LogMelFilterBank`.

    Example:
        >>> front_end = MFCC(n_mfcc=40)
        >>> front_end(torch.randn(2, 1, 16000)).shape
        torch.Size([2, 40, 101])
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
    ) -> None:
        super().__init__(sample_rate, n_fft, win_length, hop_length, n_mels, f_min, f_max, top_db)
        if n_mfcc > n_mels:
            raise ConfigError(f"n_mfcc ({n_mfcc}) must not exceed n_mels ({n_mels}).")
        self.num_features = n_mfcc
        self.register_buffer("dct", create_dct(n_mfcc, n_mels, norm="ortho").T.contiguous())

    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> Tensor:
        """Compute the coefficients; shapes as for `LogMelFilterBank`."""
        log_mel = super().forward(waveform, waveform_length)
        with torch.autocast(waveform.device.type, enabled=False):
            return self.dct @ log_mel
