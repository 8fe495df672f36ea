"""Front end with a pretrained audio encoder, frozen or with trained top layers."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.pretrained_source import PretrainedSource
from crossmodal.models.weights import hash_tensors
from crossmodal.storage import atomic_path, content_key
from crossmodal.transforms import length_mask, pad_features
from crossmodal.transforms.front_end import frame_energy, select_frames, voiced_frames

# Increment if the same audio, weights and settings would give different stored speech features.
VERSION = 2

_MIN_SAMPLES = _WINDOW = 400  # samples of one frame of the networks
_HOP = 320
_SILENT = 1e-3  # largest value of the row that marks voiced frames with 1; its mean in masked parts is larger


class PretrainedFrontEnd(nn.Module):
    """Hidden states of a pretrained audio encoder, such as Whisper, wav2vec 2.0, HuBERT or WavLM.

    The lower layers are frozen: they have no gradients, are in neither the state dict nor the optimizer, and stay in
    evaluation mode. They are loaded at first use and moved to the device of the waveform. What they compute for a clip
    can be stored, and is rounded to half precision, the precision of stored features. The ``trainable_layers`` above
    them are part of the state dict.

    In PyTorch, clips pass through the frozen layers one at a time, because some networks normalize over time in their
    first convolution, so that padding would change a clip's features (pytorch/audio issue 2242).

    Radford et al., ICML 2023 (Whisper); Baevski et al., NeurIPS 2020 (wav2vec 2.0); Hsu et al., TASLP 2021 (HuBERT);
    Chen et al., JSTSP 2022 (WavLM); Babu et al., Interspeech 2022 (XLS-R). Several layers predict emotion better than
    the last one (Pepino et al., Interspeech 2021).

    Args:
        sample_rate: Samples per second of the waveform, which must be that of the model.
        model: Audio model of ``transformers``, by its id on the Hub or its folder, or the name of a network in
            ``torchaudio.pipelines``, such as WAVLM_BASE_PLUS. All but Whisper and torchaudio's need the extra ``hf``.
        layers: Transformer layers to return, counted from 1; all by default. Layers above the highest are not computed.
        trainable_layers: Number of layers to train: the highest of `layers` and those below it.
        subsampling: Number of the network's frames, of 20 ms each, averaged to one audio frame.
        silence_db: Threshold of silence, in dB below the loudest frame of the clip. Frames with less energy are removed
            after all layers; None keeps all frames.
        revision: Branch, tag or commit on the Hub.
        weights: Path of a weights file (safetensors, or a state dict of torch) instead of that of the model.
        config: Content of the model's ``config.json``, by default read from its folder, from beside `weights` or from
            the Hub; that of Whisper is found from the weights alone.

    Attributes:
        num_layers: Number of returned layers.
        num_features: Height of the frozen layers' output, which is stored.
        out_features: Height of the output: the widths of the concatenated layers.
        width: Width of a layer.
        trained: The trained layers and the normalization after them; NaN until `load_trained_layers` or a state dict.

    Raises:
        ConfigError: If the model is not an audio encoder, or an argument is invalid.
        HubError: If the model is not on the Hub, is gated, or the Hub cannot be reached.
        MissingExtraError: If the model needs the library ``transformers``, which is not installed.
        WeightsError: If the weights file is missing.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        model: str = "openai/whisper-tiny.en",
        layers: list[int] | None = None,
        trainable_layers: int = 0,
        subsampling: int = 1,
        silence_db: float | None = 30.0,
        revision: str | None = None,
        weights: str | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.source = source = PretrainedSource.find(model, revision, weights, config)
        if sample_rate != source.sample_rate:
            raise ConfigError(f"{model} needs a sample_rate of {source.sample_rate}, got {sample_rate}.")
        self.layers = _checked_layers(layers, source)
        top = self.layers[-1]
        if not 0 <= trainable_layers < top:
            raise ConfigError(f"trainable_layers must be 0 to {top - 1} below layer {top}, got {trainable_layers}.")
        if subsampling < 1 or (subsampling > 1 and trainable_layers):
            raise ConfigError(f"subsampling must be at least 1, and 1 for trained layers, got {subsampling}.")
        self.subsampling, self.silence_db, self.frozen_layers = subsampling, silence_db, top - trainable_layers
        self._stored = sorted({min(layer, self.frozen_layers) for layer in self.layers})
        self.num_layers, self.width = len(self.layers), source.width
        self._keeps_silence = trainable_layers > 0 and silence_db is not None  # the trained layers get all frames
        self.num_features = len(self._stored) * source.width + self._keeps_silence
        self.out_features = self.num_layers * source.width
        self.trained = self._create_trained(trainable_layers) if trainable_layers else None
        # A tuple keeps it from being a submodule: it is not in checkpoints or the optimizer and ignores train().
        self._network: tuple[Any, ...] = ()

    @property
    def rebuild_kwargs(self) -> dict[str, Any]:
        """Constructor arguments to override in the configuration of a stored model."""
        return {"model": self.source.model, "weights": self.source.weights, "config": dict(self.source.config) or None}

    @property
    def takes_batches(self) -> bool:
        """True if the network computes the same for a clip in a batch with padding, as in exported models."""
        return self.source.is_whisper

    def content_key(self) -> str:
        """Return a key of everything that determines a clip's features: network, weights, layers and subsampling."""
        return content_key(
            config=self.source.config or self.source.model,
            weights=hash_tensors(self.source.tensors(self.frozen_layers)),
            layers=self._stored,
            subsampling=self.subsampling,
            silence_db=self.silence_db,
            keeps_silence=self._keeps_silence,
            version=VERSION,
        )

    def trained_key(self) -> str | None:
        """Return a key of the present weights of the trained layers; None if there are none."""
        return None if self.trained is None else hash_tensors(self.trained.state_dict())

    def save_frozen_layers(self, path: Path) -> None:
        """Write the weights of the frozen layers as safetensors, atomically."""
        tensors = {name: tensor.contiguous() for name, tensor in self.source.tensors(self.frozen_layers).items()}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)

    def load_trained_layers(self) -> None:
        """Set the trained layers to their pretrained weights.

        Raises:
            WeightsError: If the weights are not available.
        """
        if self.trained is not None:
            network = self.source.load(self.layers[-1])
            self.trained.load_state_dict(_top(network, self.frozen_layers).state_dict())

    @torch.no_grad()
    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the frozen layers in single precision, even under autocast, and round to half precision.

        Shapes are those of `LogMelFilterBank`; features are zero in the padding. Waveforms too short for one frame
        (25 ms) are zero-padded.

        Raises:
            WeightsError: If the network has to be loaded and its weights are not available.
        """
        if waveform_length is None:
            waveform_length = torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
        network = self.load(waveform.device)
        with torch.autocast(waveform.device.type, enabled=False):
            if torch.onnx.is_in_onnx_export():
                return self._extract(network, waveform[:, 0], waveform_length)
            clips = zip(waveform.float(), waveform_length.tolist(), waveform_length.split(1), strict=True)
            return pad_features([self._extract(network, clip[:, :size], length)[0][0] for clip, size, length in clips])

    def _extract(self, network: Any, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features, (B, num_features, audio frames), and their lengths, of waveforms of shape (B, T)."""
        if not torch.onnx.is_in_onnx_export():  # exported models pad all waveforms themselves
            waveform = F.pad(waveform, (0, max(_MIN_SAMPLES - waveform.shape[-1], 0)))
        length = length.clamp(min=_MIN_SAMPLES)
        states = network(waveform, length)
        features = torch.cat([states[layer] for layer in self._stored], dim=-1).transpose(1, 2)
        is_whisper = self.source.is_whisper
        frames = network.num_frames(length) if is_whisper else torch.full_like(length, features.shape[2])
        if self.silence_db is not None:
            if not is_whisper:  # Whisper's first frame is around the start of the clip, that of others begins there
                waveform = F.pad(waveform, (_HOP - _WINDOW // 2, 0))
            energy = frame_energy(waveform, _WINDOW, _HOP)[:, 0 if is_whisper else 1 :][:, : features.shape[2]]
            voiced = voiced_frames(frames, energy, self.silence_db)
            if self._keeps_silence:  # the last row marks the voiced frames
                features = torch.cat([features, voiced[:, None].float()], dim=1)
            else:
                features, frames = select_frames(features, voiced)
        if self.subsampling > 1:
            features, frames = _average(features, frames, self.subsampling)
        largest = torch.finfo(torch.half).max  # some layers of the large networks have huge outliers
        return features.clamp(-largest, largest).half().float(), frames

    def finish(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Run the trained layers, if any, on the results of `forward`, and remove silent frames after them.

        Returns:
            States of shape (B, out_features, audio frames), and the number of valid audio frames of each clip, (B,).
        """
        if self.trained is None:
            return features, length
        states = dict(zip(self._stored, features.split(self.width, dim=1), strict=False))
        hidden = states[self.frozen_layers].transpose(1, 2)
        valid = length_mask(length, features.shape[2])[:, None, None]
        mask = valid.expand(-1, 1, features.shape[2], -1)
        layers: Any = self.trained["layers"]
        for number, layer in enumerate(layers, start=self.frozen_layers + 1):
            output = layer(hidden, attention_mask=mask)
            hidden = output[0] if isinstance(output, tuple) else output
            states[number] = hidden.transpose(1, 2)
        if "layer_norm" in self.trained:
            states[self.layers[-1]] = self.trained["layer_norm"](hidden).transpose(1, 2)
        result = torch.cat([states[layer] for layer in self.layers], dim=1)
        if not self._keeps_silence:
            return result, length
        return select_frames(result, length_mask(length, result.shape[2]) & (features[:, -1] > _SILENT))

    def load(self, device: torch.device | str = "cpu") -> Any:
        """Return the frozen layers on a device; they are loaded at the first call. `forward` calls this.

        Raises:
            WeightsError: If their weights are not available.
        """
        if not self._network:
            with torch.inference_mode(False):  # weights created in inference mode are unusable outside of it
                self._network = (self.source.load(self.frozen_layers),)
        return self._network[0].to(device)

    def _create_trained(self, count: int) -> nn.ModuleDict:
        """Create the trained layers; their weights are NaN, so that no result is possible until they are set."""
        network = self.source.create(self.layers[-1])
        if not network.has_independent_layers:
            raise ConfigError(
                f"The layers of {self.source.model} share relative positions, so they cannot be trained alone: use "
                "trainable_layers 0, or a Whisper, wav2vec 2.0, HuBERT or data2vec model."
            )
        trained = _top(network, self.frozen_layers).to_empty(device="cpu").train().requires_grad_(True)
        for parameter in trained.parameters():
            nn.init.constant_(parameter, torch.nan)
        return trained


def _average(features: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Average each `size` frames of (B, F, frames); the last average of a clip is over its remaining frames."""
    mask = length_mask(length, features.shape[2])[:, None].float()
    sums, counts = (F.avg_pool1d(values, size, ceil_mode=True) for values in (features * mask, mask))
    return sums / counts.clamp(min=1 / size), (length + size - 1) // size


def _top(network: Any, frozen_layers: int) -> nn.ModuleDict:
    """Return the layers above the frozen ones, and the normalization after them, if there is one."""
    norm = {} if network.layer_norm is None else {"layer_norm": network.layer_norm}
    return nn.ModuleDict({"layers": network.layers[frozen_layers:], **norm})


def _checked_layers(layers: list[int] | None, source: PretrainedSource) -> list[int]:
    known = range(1, source.num_layers + 1)
    if layers is None:
        return list(known)
    if not layers or len({*layers}) != len(layers) or not {*layers} <= {*known}:
        raise ConfigError(f"layers must be unique numbers from 1 to {known[-1]} for {source.model}, got {layers}.")
    return sorted(layers)
