"""Front end with a frozen self-supervised speech network."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.speech_network import (
    CONVOLUTIONS,
    SAMPLE_RATE,
    find_bundle,
    find_weights,
    load_speech_network,
    weights_digest,
)
from crossmodal.storage import content_key
from crossmodal.transforms import pad_features

# Increment if the same audio, weights and settings would give different stored speech features.
VERSION = 1

_MIN_SAMPLES = 400  # of one frame of the network


class SelfSupervisedFrontEnd(nn.Module):
    """Hidden states of a frozen network that was pretrained on unlabelled speech.

    The networks are wav2vec 2.0 (Baevski et al., NeurIPS 2020), HuBERT (Hsu et al., TASLP 2021), XLS-R (Babu et al.,
    Interspeech 2022) and WavLM (Chen et al., JSTSP 2022). Several layers predict emotion better than the last one
    (Pepino et al., Interspeech 2021), so all are kept by default and `WeightedLayerSum` learns their weights.

    The network has no gradients and stays in evaluation mode, even after ``train()``. It is not in the state dict or
    the optimizer. It is loaded at first use and moved to the device of the waveform. Features are rounded to half
    precision, the precision of stored features.

    Clips are processed one at a time, because the base networks normalize over time in their first convolution, so
    padding would change a clip's features (pytorch/audio issue 2242).

    Args:
        sample_rate: Samples per second of the waveform; these networks support only 16000.
        bundle: Name of the network in ``torchaudio.pipelines``, such as HUBERT_LARGE or WAVLM_BASE_PLUS.
        weights: Path of a local weights file (safetensors or a state dict, with torchaudio's names) instead of a
            download.
        layers: Transformer layers to return, counted from 1; all by default. Layers above the highest are not computed.
        subsampling: Number of the network's frames, of 20 ms each, averaged to one audio frame.

    Attributes:
        num_layers: Number of returned layers.
        num_features: Height of the output: the widths of the concatenated layers.

    Raises:
        ConfigError: If the bundle or a layer does not exist, or the sample rate or the subsampling is invalid.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        bundle: str = "WAV2VEC2_BASE",
        weights: str | None = None,
        layers: list[int] | None = None,
        subsampling: int = 5,
    ) -> None:
        super().__init__()
        source = find_bundle(bundle)
        if sample_rate != SAMPLE_RATE:
            raise ConfigError(f"{bundle} needs a sample_rate of {SAMPLE_RATE}, got {sample_rate}. Resample the audio.")
        if subsampling < 1:
            raise ConfigError(f"subsampling must be at least 1, got {subsampling}.")
        self.bundle, self.subsampling = bundle, subsampling
        # Absolute, because a stored model may be loaded from another working directory.
        self.weights = None if weights is None else str(Path(weights).expanduser().absolute())
        self.layers = _checked_layers(layers, bundle, source.num_layers)
        self.num_layers = len(self.layers)
        self.num_features = self.num_layers * source.width
        self._normalizes = source.normalizes
        # A tuple keeps it from being a submodule: it is not in checkpoints or the optimizer and ignores train().
        self._network: tuple[Any, ...] = ()

    @property
    def rebuild_kwargs(self) -> dict[str, Any]:
        """Constructor arguments to override in the configuration of a stored model."""
        return {"weights": self.weights}

    def weights_file(self) -> Path:
        """Return the path of the network's weights file, downloaded if necessary, or raise WeightsError."""
        return find_weights(self.bundle, self.weights)

    def content_key(self) -> str:
        """Return a key of everything that determines a clip's features: bundle, weights, layers and subsampling."""
        return content_key(
            bundle=self.bundle,
            weights=weights_digest(self.weights_file()),
            layers=self.layers,
            subsampling=self.subsampling,
            version=VERSION,
        )

    def num_audio_frames(self, waveform_length: Tensor) -> Tensor:
        """Return the number of audio frames for waveform lengths in samples, both of shape (B,)."""
        length = waveform_length.clamp(min=_MIN_SAMPLES)
        for kernel, stride in CONVOLUTIONS:
            length = (length - kernel) // stride + 1
        return (length + self.subsampling - 1) // self.subsampling

    @torch.no_grad()
    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the features in single precision, even under autocast, and round them to half precision.

        Shapes are those of `LogMelFilterBank`; features are zero in the padding. Waveforms too short for one frame
        (25 ms) are zero-padded.

        Raises:
            WeightsError: If the network has to be loaded and its weights are not available.
        """
        lengths = [waveform.shape[-1]] * len(waveform) if waveform_length is None else waveform_length.tolist()
        network = self.load(waveform.device)
        with torch.autocast(waveform.device.type, enabled=False):
            clips = [
                self._extract(network, clip[:, :length].float()) for clip, length in zip(waveform, lengths, strict=True)
            ]
        return pad_features(clips)

    def _extract(self, network: Any, waveform: Tensor) -> Tensor:
        """Compute the features of one clip of shape (1, T), of shape (num_features, audio frames)."""
        waveform = F.pad(waveform, (0, max(_MIN_SAMPLES - waveform.shape[-1], 0)))
        if self._normalizes:  # as in torchaudio's bundle
            waveform = F.layer_norm(waveform, waveform.shape)
        states, _ = network.extract_features(waveform, num_layers=max(self.layers))
        hidden = torch.cat([states[layer - 1] for layer in self.layers], dim=-1).transpose(1, 2)
        # With ceil_mode the last average is over the remaining frames.
        features = F.avg_pool1d(hidden, self.subsampling, ceil_mode=True)[0]
        largest = torch.finfo(torch.half).max  # some layers of the large networks have huge outliers
        return features.clamp(-largest, largest).half().float()

    def load(self, device: torch.device | str = "cpu") -> Any:
        """Return the network on a device; it is loaded at the first call. `forward` calls this.

        Raises:
            WeightsError: If its weights are not available.
        """
        if not self._network:
            with torch.inference_mode(False):  # weights created in inference mode are unusable outside of it
                self._network = (load_speech_network(self.bundle, self.weights_file()),)
        return self._network[0].to(device)


def _checked_layers(layers: list[int] | None, bundle: str, depth: int) -> list[int]:
    known = range(1, depth + 1)
    if layers is None:
        return list(known)
    if not layers or len({*layers}) != len(layers) or not {*layers} <= {*known}:
        raise ConfigError(f"layers must be unique numbers from 1 to {depth} for {bundle}, got {layers}.")
    return sorted(layers)
