"""What a frozen self-supervised network makes of a voice."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.speech_network import (
    BundleName,
    find_bundle,
    find_weights,
    load_speech_network,
    weights_digest,
)
from crossmodal.storage import content_key
from crossmodal.transforms import pad_features

# Raise when the same sound, weights and settings would give other stored speech features.
VERSION = 1


class SelfSupervisedFrontEnd(nn.Module):
    """Hidden states of a network that learned from speech without labels, and is not trained further here.

    wav2vec 2.0 (Baevski et al., NeurIPS 2020), HuBERT (Hsu et al., TASLP 2021), XLS-R (Babu et al., Interspeech 2022)
    or WavLM (Chen et al., JSTSP 2022), as torchaudio has them. Several layers tell emotion better than the last one
    (Pepino et al., Interspeech 2021), so all are kept, and `LayerMix` learns how much of each is wanted.

    The network is a fixed function: no gradient, always in evaluation mode, deaf to ``train()``. It is in no state dict
    and no optimizer. It is loaded when it is first used, and moves to the device of the waveform.

    It hears one clip at a time, cut to the clip's length. A batch would be faster on a GPU, but the base networks
    normalize over time in their first convolution, so that padding would change a clip's features (pytorch/audio issue
    2242). As a corpus is heard once and its features are stored, the time is spent once.

    Features are rounded to half precision, in which they are stored: what is trained on stored features gets, in use,
    the same numbers.

    Args:
        sample_rate: Samples per second of the waveform; these networks know 16000 only.
        bundle: Which network, by the name of its bundle in ``torchaudio.pipelines``.
        weights: A local file of its weights (safetensors, or a state dict, with torchaudio's names); fetched if not
            given.
        layers: Which transformer layers, counted from 1; all if not given. Those above the last one are not computed.
        subsampling: How many of the network's frames, of 20 ms each, are averaged to one audio frame.

    Attributes:
        num_layers: Number of layers that are kept.
        num_features: Height of the output: the layers' widths, one layer below the other.

    Raises:
        ConfigError: There is no such bundle or layer, or the sample rate or the subsampling cannot be.

    Example:
        >>> front_end = SelfSupervisedFrontEnd(bundle="WAV2VEC2_BASE", layers=[6, 7, 8])
        >>> front_end.num_features, front_end.num_audio_frames(torch.tensor([16000]))
        (2304, tensor([10]))
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        bundle: BundleName = "WAV2VEC2_BASE",
        weights: str | None = None,
        layers: list[int] | None = None,
        subsampling: int = 5,
    ) -> None:
        super().__init__()
        found = find_bundle(bundle)
        if sample_rate != found.sample_rate:
            raise ConfigError(f"{bundle} hears {found.sample_rate} samples a second, not {sample_rate}: resample.")
        if subsampling < 1:
            raise ConfigError(f"subsampling must be at least 1, got {subsampling}.")
        depth: int = found._params["encoder_num_layers"]
        self.bundle, self.subsampling = bundle, subsampling
        # Absolute: a stored model refers to the file, wherever it is loaded.
        self.weights = None if weights is None else str(Path(weights).expanduser().absolute())
        self.layers = _checked_layers(layers, bundle, depth)
        self.num_layers = len(self.layers)
        self.num_features: int = self.num_layers * found._params["encoder_embed_dim"]
        self._normalize_waveform: bool = found._normalize_waveform
        self._convolutions = [(kernel, stride) for _, kernel, stride in found._params["extractor_conv_layer_config"]]
        self._min_samples = 1
        for kernel, stride in reversed(self._convolutions):
            self._min_samples = (self._min_samples - 1) * stride + kernel
        # In a tuple, so that it is no submodule: in no checkpoint, no optimizer, and deaf to train().
        self._network: tuple[Any, ...] = ()

    @property
    def rebuild_kwargs(self) -> dict[str, Any]:
        """Arguments to put in place of those given, in the configuration of a stored model."""
        return {"weights": self.weights}

    def weights_file(self) -> Path:
        """Find the file of the network's weights, fetching it if it is nowhere.

        Raises:
            WeightsError: It cannot be had.
        """
        return find_weights(self.bundle, self.weights)

    def content_key(self) -> str:
        """Name all that decides a clip's features beside the clip: bundle, weights' content, layers and subsampling.

        Raises:
            WeightsError: The weights cannot be had.
        """
        return content_key(
            bundle=self.bundle,
            weights=weights_digest(self.weights_file()),
            layers=self.layers,
            subsampling=self.subsampling,
            version=VERSION,
        )

    def num_audio_frames(self, waveform_length: Tensor) -> Tensor:
        """Count the audio frames of waveforms of so many samples, both of shape (B,)."""
        length = waveform_length.clamp(min=self._min_samples)
        for kernel, stride in self._convolutions:
            length = (length - kernel) // stride + 1
        return (length + self.subsampling - 1) // self.subsampling

    @torch.no_grad()
    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the features, in single precision under autocast too; they are then rounded to half precision.

        Args:
            waveform: Waveforms of shape (B, 1, T). Those too short for one frame (25 ms) are filled up with zeros.
            waveform_length: Length of each in samples, of shape (B,); T for all if not given.

        Returns:
            Features of shape (B, num_features, audio frames), float32, zero beyond each clip's own audio frames, and
            how many of the audio frames are each clip's own, of shape (B,).

        Raises:
            WeightsError: The network is needed for the first time, and its weights cannot be had.
        """
        lengths = [waveform.shape[-1]] * len(waveform) if waveform_length is None else waveform_length.tolist()
        network = self.load(waveform.device)
        with torch.autocast(waveform.device.type, enabled=False):
            clips = [
                self._hear(network, clip[:, :length].float()) for clip, length in zip(waveform, lengths, strict=True)
            ]
        return pad_features(clips)

    def _hear(self, network: Any, waveform: Tensor) -> Tensor:
        """From one clip, (1, T), to its features, (num_features, audio frames)."""
        waveform = F.pad(waveform, (0, max(self._min_samples - waveform.shape[-1], 0)))
        if self._normalize_waveform:  # as torchaudio's bundle does it
            waveform = F.layer_norm(waveform, waveform.shape)
        states, _ = network.extract_features(waveform, num_layers=max(self.layers))
        chosen = torch.cat([states[layer - 1] for layer in self.layers], dim=-1).transpose(1, 2)
        # ceil_mode: the last average is over the frames that are left.
        features = F.avg_pool1d(chosen, self.subsampling, ceil_mode=True)[0]
        largest = torch.finfo(torch.half).max  # some layers of the large networks have huge outliers
        return features.clamp(-largest, largest).half().float()

    def load(self, device: torch.device | str = "cpu") -> Any:
        """Load the network, if it is not loaded, and move it to a device; the first use would do it too.

        Returns:
            The ``torchaudio.models.Wav2Vec2Model``.

        Raises:
            WeightsError: Its weights cannot be had.
        """
        if not self._network:
            with torch.inference_mode(False):  # or its weights would be of no use outside of inference mode
                self._network = (load_speech_network(self.bundle, self.weights_file()),)
        return self._network[0].to(device)


def _checked_layers(layers: list[int] | None, bundle: str, depth: int) -> list[int]:
    known = range(1, depth + 1)
    if layers is None:
        return list(known)
    if not layers or len({*layers}) != len(layers) or not {*layers} <= {*known}:
        raise ConfigError(f"layers must be some of 1 to {depth}, which {bundle} has, each once; got {layers}.")
    return sorted(layers)
