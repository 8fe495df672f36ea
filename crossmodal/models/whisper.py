"""The encoder of Whisper (Radford et al., ICML 2023) for clips of any length."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from crossmodal.models.encoder import mask_padding
from crossmodal.transforms import length_mask
from crossmodal.transforms.exported_front_end import mel_power

SAMPLE_RATE, _N_FFT, _HOP = 16_000, 400, 160
HEAD_WIDTH = 64  # of every published size
_OVERLAP = 6  # windows of a long recording share a sixth: 5 s of 30


class WhisperEncoder(nn.Module):
    """Whisper's encoder up to a layer, whose tensors have the names of ``transformers``.

    The published model pads every recording to 30 s. This one runs on the clip itself with the first positions, and
    masks the padding of a batch, so a clip's result depends neither on its padding nor on other clips.

    Args:
        config: Sizes, as in the ``config.json`` of ``transformers``: ``d_model``, ``encoder_layers``,
            ``encoder_ffn_dim``, ``num_mel_bins`` and ``max_source_positions``.
        num_layers: Number of layers; by default all.
    """

    filters: Tensor
    window: Tensor
    has_independent_layers = True

    def __init__(self, config: Mapping[str, Any], num_layers: int | None = None) -> None:
        super().__init__()
        width, num_mel_bins = config["d_model"], config["num_mel_bins"]
        num_layers = config["encoder_layers"] if num_layers is None else num_layers
        self.conv1 = nn.Conv1d(num_mel_bins, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config["max_source_positions"], width)
        self.layers = nn.ModuleList(WhisperLayer(width, config["encoder_ffn_dim"]) for _ in range(num_layers))
        # The published network normalizes the output of its last layer.
        self.layer_norm = nn.LayerNorm(width) if num_layers == config["encoder_layers"] else None
        with torch.device("cpu"):  # not in the state dict, so also if the others are created without memory
            filters = melscale_fbanks(
                _N_FFT // 2 + 1, 0.0, SAMPLE_RATE / 2, num_mel_bins, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
            )
            window = torch.hann_window(_N_FFT)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", window, persistent=False)

    @staticmethod
    def num_frames(length: Tensor) -> Tensor:
        """Return the number of frames, of 20 ms, for lengths in samples, at least 400."""
        return (length // _HOP + 1) // 2

    def log_mel(self, waveform: Tensor, length: Tensor) -> Tensor:
        """Compute Whisper's input, (B, mel bands, frames of 10 ms), from (B, T) with lengths (B,); 0 in the padding.

        Each clip is scaled by its own largest value. As in the published feature extractor, the start is mirrored and
        the end is followed by zeros.
        """
        start = waveform[:, 1 : _N_FFT // 2 + 1].flip(1)
        power = mel_power(torch.cat([start, waveform], dim=1), self.window, self.filters, _HOP, before=0)
        log = power[..., : waveform.shape[1] // _HOP].clamp(min=1e-10).log10()
        valid = length_mask(length // _HOP, log.shape[-1])[:, None]
        largest = log.masked_fill(~valid, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return ((log.maximum(largest - 8) + 4) / 4).masked_fill(~valid, 0.0)

    def forward(self, waveform: Tensor, length: Tensor) -> list[Tensor]:
        """Encode clips; those longer than the network's context are cut into overlapping windows.

        Args:
            waveform: Waveforms in [-1, 1] at 16 kHz, (B, T), with zeros in the padding.
            length: Lengths in samples, (B,), at least 400.

        Returns:
            The states before the first layer and after each layer, (B, frames, width) each; after the last layer of
            the network they are normalized, as in ``transformers``.
        """
        hidden = F.gelu(self.conv1(self.log_mel(waveform, length)))
        hidden = F.gelu(self.conv2(mask_padding(hidden, length // _HOP))).transpose(1, 2)
        window, frame, place = self._windows(hidden.shape[1], hidden.device)
        inside = window < self.num_frames(length)[:, None, None]  # (B, windows, frames of a window)
        mask = (inside | (window == window[:, :1])).flatten(0, 1)[:, None, None]  # no row without a frame
        cut = hidden[:, window.clamp(max=hidden.shape[1] - 1)] + self.embed_positions.weight[: window.shape[1]]
        states = [cut.flatten(0, 1)]
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        if self.layer_norm is not None:
            states[-1] = self.layer_norm(states[-1])
        return [state.reshape(cut.shape)[:, frame, place] for state in states]

    def _windows(self, count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Cut `count` frames into windows of ``num_positions``, or less if one is enough.

        Return the frames of each window, (windows, frames), and the window of each frame and its place in it: the
        windows change in the middle of their overlap.
        """
        size = self.embed_positions.num_embeddings
        overlap = size // _OVERLAP
        frames = torch.arange(count, device=device)
        starts = frames[:: size - overlap]
        starts = starts[(starts == 0) | (starts + overlap < count)]
        window = ((frames - overlap // 2) // (size - overlap)).clamp(min=0).minimum(starts.argmax())
        return starts[:, None] + torch.arange(size, device=device)[:count], window, frames - starts[window]


class WhisperLayer(nn.Module):
    """A transformer layer of Whisper, with normalization before attention and before the dense layers."""

    def __init__(self, width: int, hidden_size: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden_size)
        self.fc2 = nn.Linear(hidden_size, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Map (B, frames, width) to the same shape; the mask, (B, 1, 1 or frames, frames), is True for valid frames."""
        hidden = hidden + self.self_attn(self.self_attn_layer_norm(hidden), attention_mask)
        return hidden + self.fc2(F.gelu(self.fc1(self.final_layer_norm(hidden))))


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        def heads(projected: Tensor) -> Tensor:
            return projected.reshape(*projected.shape[:2], -1, HEAD_WIDTH).transpose(1, 2)

        query, key, value = (heads(project(hidden)) for project in (self.q_proj, self.k_proj, self.v_proj))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        joined: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return joined
