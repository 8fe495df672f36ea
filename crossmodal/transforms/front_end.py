"""Front ends that compute features per audio frame from a waveform and remove silent frames."""
# A clip's features do not depend on its batch: its ends are padded with zeros, and ``top_db`` is relative to its own
# maximum; torchaudio takes the maximum over the whole batch.

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import create_dct, melscale_fbanks

from crossmodal.errors import ConfigError
from crossmodal.transforms.exported_front_end import mean_square, mel_power
from crossmodal.transforms.masking import length_mask

_MIN_POWER = 1e-10  # -100 dB, the floor of librosa and torchaudio


class LogMelFilterBank(nn.Module):
    """Energy in mel bands, in dB: one column per ``hop_length`` samples.

    Equal to librosa's ``power_to_db(melspectrogram(htk=True, norm=None, pad_mode="constant"))``.

    Args:
        sample_rate: Samples per second of the waveform.
        n_fft: Length of the Fourier transform in samples.
        win_length: Length of the Hann window in samples; the default is 25 ms at 16 kHz.
        hop_length: Number of samples between audio frames; the default is 10 ms at 16 kHz.
        n_mels: Number of mel bands.
        f_min: Lowest frequency in Hz.
        f_max: Highest frequency in Hz; defaults to half the sample rate.
        top_db: Floor of the values, in dB below the maximum of the clip; None for no floor.
        energy: Whether to add a row with the energy in dB: 10 log10 of the mean square over ``win_length`` samples.
        deltas: Order of the appended deltas: 1 for deltas, 2 for deltas and their deltas (regression over five frames,
            as in HTK and torchaudio's ``compute_deltas``).
        silence_db: Threshold of silence, in dB below the loudest audio frame of the clip. Frames with less energy are
            removed after deltas are computed; None keeps all frames. Half of a RAVDESS clip is silence.

    Attributes:
        num_features: Height of the output.

    Raises:
        ConfigError: If the window is longer than the transform, the frequencies do not fit the sample rate, or
            ``deltas`` is not 0, 1 or 2.

    Examples:
        >>> front_end = LogMelFilterBank(n_mels=64)
        >>> features, length = front_end(torch.randn(2, 1, 16000))
        >>> features.shape, length
        (torch.Size([2, 64, 101]), tensor([101, 101]))
    """

    window: Tensor
    filters: Tensor
    num_layers: ClassVar[int] = 1  # of a network; see `PretrainedFrontEnd`
    rebuild_kwargs: ClassVar[dict[str, Any]] = {}  # no argument refers to a file

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
        self.sample_rate, self.hop_length, self.win_length = sample_rate, hop_length, win_length
        self.top_db, self.silence_db = top_db, silence_db
        self.energy, self.deltas = energy, deltas
        window = F.pad(torch.hann_window(win_length), ((n_fft - win_length) // 2, (n_fft - win_length + 1) // 2))
        filters = melscale_fbanks(n_fft // 2 + 1, f_min, f_max, n_mels, sample_rate).repeat_interleave(2, dim=0)
        # Not in the state dict, because both are derived from the arguments.
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)
        self._band_groups = _band_groups(filters)

    @property
    def num_features(self) -> int:
        """Height of the output."""
        return (self._num_rows + self.energy) * (1 + self.deltas)

    @property
    def _num_rows(self) -> int:
        return self.filters.shape[1]

    def num_audio_frames(self, waveform_length: Tensor) -> Tensor:
        """Return the number of audio frames, including silence, for lengths in samples, both of shape (B,)."""
        return 1 + waveform_length // self.hop_length

    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the features in float32, even under autocast: energies exceed the range of half precision.

        Args:
            waveform: Waveforms of shape (B, 1, T), zero beyond their lengths.
            waveform_length: Length of each waveform in samples, of shape (B,); defaults to T for all.

        Returns:
            Features of shape (B, num_features, audio frames), and the number of valid audio frames of each clip, of
            shape (B,).
        """
        if waveform_length is None:
            waveform_length = torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
        length = self.num_audio_frames(waveform_length)
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.squeeze(1).float()
            features = self._from_log_mel(self._clip_floor(self._log_mel(waveform), length))
            if self.energy:
                energy = self._clip_floor(self._energy(waveform)[:, None], length)
                features = torch.cat([features, energy], dim=1)
            features = _append_deltas(features, length, self.deltas)
            if self.silence_db is None:
                return features, length
            return remove_silence(features, length, self._energy(waveform), self.silence_db)

    def _log_mel(self, waveform: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return _decibels(mel_power(waveform, self.window, self.filters[::2], self.hop_length))
        # One clip at a time fits in a CPU's cache: 32 clips take a third of the time of one batch.
        clips = waveform.split(1 if waveform.device.type == "cpu" else len(waveform))
        return _decibels(torch.cat([self._mel_power(clip) for clip in clips])).mT

    def _mel_power(self, waveform: Tensor) -> Tensor:
        frames = _frames(waveform, len(self.window), self.hop_length) * self.window
        # Squares of real and imaginary parts alternate, and the filters have each row twice to sum them.
        power = torch.view_as_real(torch.fft.rfft(frames.flatten(0, 1))).square().flatten(1)
        bands = [power[:, bins] @ self.filters[bins, mels] for bins, mels in self._band_groups]
        return torch.cat(bands, dim=1).unflatten(0, frames.shape[:2])

    def _from_log_mel(self, log_mel: Tensor) -> Tensor:
        return log_mel

    def _energy(self, waveform: Tensor) -> Tensor:
        return frame_energy(waveform, self.win_length, self.hop_length)

    def _clip_floor(self, decibels: Tensor, length: Tensor) -> Tensor:
        if self.top_db is None:
            return decibels
        # The frame after the last valid one is centred beyond the end but overlaps the clip, and can be the loudest.
        loudest = _loudest(decibels.amax(dim=1), length_mask(length, decibels.shape[-1]))
        return torch.maximum(decibels, loudest[..., None] - self.top_db)


class MFCC(LogMelFilterBank):
    """Mel-frequency cepstral coefficients: the cosine transform (orthonormal DCT-II) of the log-mel filter bank.

    Equal to librosa's ``mfcc`` with the settings of `LogMelFilterBank`.

    Args:
        sample_rate: Samples per second of the waveform.
        n_mfcc: Number of coefficients, from the zeroth on.
        **kwargs: Further arguments of `LogMelFilterBank`; ``top_db`` applies to the mel bands.

    Raises:
        ConfigError: If there are more coefficients than mel bands, or as for `LogMelFilterBank`.
    """

    dct: Tensor

    def __init__(self, sample_rate: int = 16000, n_mfcc: int = 40, **kwargs: Any) -> None:
        super().__init__(sample_rate, **kwargs)
        n_mels = self.filters.shape[1]
        if n_mfcc > n_mels:
            raise ConfigError(f"n_mfcc ({n_mfcc}) must not exceed n_mels ({n_mels}).")
        self.register_buffer("dct", create_dct(n_mfcc, n_mels, norm="ortho").T.contiguous(), persistent=False)

    @property
    def _num_rows(self) -> int:
        return len(self.dct)

    def _from_log_mel(self, log_mel: Tensor) -> Tensor:
        return self.dct @ log_mel


class MFCCAndLogMel(MFCC):
    """MFCC, which are decorrelated, and the log-mel filter bank, which is local in frequency, at the cost of one."""

    @property
    def _num_rows(self) -> int:
        return len(self.dct) + self.filters.shape[1]

    def _from_log_mel(self, log_mel: Tensor) -> Tensor:
        return torch.cat([self.dct @ log_mel, log_mel], dim=1)


def _band_groups(filters: Tensor, size: int = 16) -> list[tuple[slice, slice]]:
    """Split mel bands into groups, each with the range of its frequency bins."""
    # Most of the matrix is zero: multiplying it by groups takes less than half the time.
    groups = []
    for start in range(0, filters.shape[1], size):
        mels = slice(start, start + size)
        bins = filters[:, mels].any(dim=1).nonzero().flatten().tolist() or [0]
        groups.append((slice(bins[0], bins[-1] + 1), mels))
    return groups


def _decibels(power: Tensor) -> Tensor:
    return 10 * power.clamp(min=_MIN_POWER).log10()


def _loudest(decibels: Tensor, mask: Tensor) -> Tensor:
    """Return the maximum over each clip's valid audio frames, (B, 1), from values and mask of shape (B, frames)."""
    return decibels.masked_fill(~mask, -torch.inf).amax(dim=1, keepdim=True)


def frame_energy(waveform: Tensor, size: int, hop_length: int) -> Tensor:
    """Compute the energy of each audio frame in dB, (B, 1 + T // hop_length), of waveforms, (B, T)."""
    if torch.onnx.is_in_onnx_export():
        return _decibels(mean_square(waveform, size, hop_length))
    return _decibels(_frames(waveform.square(), size, hop_length).mean(dim=-1))


def _frames(waveform: Tensor, size: int, hop_length: int) -> Tensor:
    """Return a view of shape (B, audio frames, size), the samples around the centre of each audio frame."""
    return F.pad(waveform, (size // 2, size - size // 2)).unfold(-1, size, hop_length)


def _append_deltas(features: Tensor, length: Tensor, order: int) -> Tensor:
    """Append deltas to (B, F, frames), giving (B, F * (1 + order), frames); a clip's ends are padded by repetition."""
    frames = torch.arange(-2, features.shape[-1] + 2, device=features.device).clamp(min=0).minimum(length[:, None] - 1)
    frames = frames[:, None].expand(-1, features.shape[1], -1)
    rows = [features]
    for _ in range(order):
        padded = rows[-1].gather(2, frames)  # followed by the least-squares slope over five frames
        rows.append((padded[..., 3:-1] - padded[..., 1:-3] + 2 * (padded[..., 4:] - padded[..., :-4])) / 10)
    return torch.cat(rows, dim=1)


def remove_silence(features: Tensor, length: Tensor, energy: Tensor, silence_db: float) -> tuple[Tensor, Tensor]:
    """Remove silent frames; `energy` is in dB, of shape (B, frames). The loudest frame is never removed."""
    mask = length_mask(length, features.shape[-1])
    loudest = _loudest(energy, mask)
    # Not ">=": a clip with NaN keeps all its frames, so that its output is NaN.
    mask = mask & ~(energy < loudest - silence_db)
    length = mask.sum(dim=1)
    size = features.shape[-1]
    frames = torch.arange(size, device=features.device)
    frames = torch.where(mask, frames, frames + size).sort(dim=1).values[:, : length.max()] % size
    return features.gather(2, frames[:, None].expand(-1, features.shape[1], -1)), length
