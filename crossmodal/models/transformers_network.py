"""Audio encoders of the library ``transformers``, such as wav2vec 2.0, HuBERT, WavLM and wav2vec2-bert."""

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError, MissingExtraError
from crossmodal.models.speech_network import hidden_states, standardize

FEATURE_EXTRACTOR = "feature_extractor"  # key of the content of preprocessor_config.json in a model's configuration
_WAVEFORM_INPUT = "Wav2Vec2FeatureExtractor"  # the input is the waveform, perhaps normalized
_EXTRACTORS = {_WAVEFORM_INPUT, "SeamlessM4TFeatureExtractor"}  # nothing else that a downloaded file names is called
_INDEPENDENT = {
    "data2vec-audio",
    "hubert",
    "unispeech",
    "unispeech-sat",
    "wav2vec2",
}  # layers without relative positions
NETWORKS = {*_INDEPENDENT, "wav2vec2-bert", "wav2vec2-conformer", "wavlm"}
_STRIDE = 320  # samples between frames
# No random masks, skipped layers or layers after the encoder.
_PLAIN = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "apply_spec_augment": False, "layerdrop": 0.0}
_PLAIN |= {"add_adapter": False, "use_intermediate_ffn_before_adapter": False}


class TransformersNetwork(nn.Module):
    """Encoder of an audio model of ``transformers`` up to a layer. Clips are processed one at a time.

    Args:
        config: Content of the model's ``config.json``, with that of its ``preprocessor_config.json`` under the key
            ``feature_extractor``.
        num_layers: Number of layers; by default all.

    Raises:
        ConfigError: If it is not a supported audio encoder.
        MissingExtraError: If ``transformers`` is not installed.
    """

    def __init__(self, config: Mapping[str, Any], num_layers: int | None = None) -> None:
        super().__init__()
        attention = "eager" if config["model_type"] == "wavlm" else "sdpa"
        made = import_transformers().AutoModel.from_config(
            parse_config(config), attn_implementation=attention, dtype=torch.float32
        )
        self.is_complete = num_layers is None or num_layers == len(made.encoder.layers)
        made.encoder.layers = made.encoder.layers[:num_layers]
        self.network = made
        self._extractor = dict(config[FEATURE_EXTRACTOR])

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer layers, from the lowest."""
        layers: nn.ModuleList = self.network.encoder.layers
        return layers

    @property
    def layer_norm(self) -> nn.Module | None:
        """Normalization of the output of the last layer, if there is one."""
        config = self.network.config
        is_last = config.model_type == "wav2vec2-conformer" or getattr(config, "do_stable_layer_norm", False)
        return self.network.encoder.layer_norm if is_last and self.is_complete else None

    @property
    def has_independent_layers(self) -> bool:
        """True if a layer can run on its own."""
        return self.network.config.model_type in _INDEPENDENT

    def forward(self, waveform: Tensor, length: Tensor) -> list[Tensor]:
        """Encode a clip, (1, T), at the model's sample rate.

        Returns:
            The states before the first layer and after each layer, (1, frames, width) each, as the ``hidden_states`` of
            ``transformers``, and after the last layer of the network its ``last_hidden_state``.
        """
        inputs = self._inputs(waveform)
        states = hidden_states(self.layers, lambda: self.network(**inputs))
        if self.layer_norm is not None:
            states[-1] = self.layer_norm(states[-1])
        return states

    def _inputs(self, waveform: Tensor) -> dict[str, Tensor]:
        kind = self._extractor.get("feature_extractor_type", _WAVEFORM_INPUT)
        if kind == _WAVEFORM_INPUT:
            normalizes = self._extractor.get("do_normalize", True)
            return {"input_values": standardize(waveform, 1e-7) if normalizes else waveform}
        if torch.onnx.is_in_onnx_export():
            raise ConfigError(f"{kind} computes the input with NumPy, so its networks have no ONNX form")
        extractor = getattr(import_transformers(), kind)(**deepcopy(self._extractor))
        rate = self._extractor["sampling_rate"]
        inputs = extractor(waveform[0].cpu().numpy(), sampling_rate=rate, return_tensors="pt")
        return {name: value.to(waveform.device) for name, value in inputs.items()}


def parse_config(config: Mapping[str, Any]) -> Any:
    """Return the configuration as an object of ``transformers``; arguments and errors as for `TransformersNetwork`."""
    name = config["model_type"]
    if name not in NETWORKS:
        raise ConfigError(
            f"Networks of type {name!r} are not supported. Known: whisper, {', '.join(sorted(NETWORKS))}."
        )
    kind = config[FEATURE_EXTRACTOR].get("feature_extractor_type", _WAVEFORM_INPUT)
    if kind not in _EXTRACTORS:
        raise ConfigError(f"Feature extractors of type {kind!r} are not supported. Known: {', '.join(_EXTRACTORS)}.")
    ours = {"model_type", "auto_map", FEATURE_EXTRACTOR}  # auto_map names code
    settings = {key: value for key, value in config.items() if key not in ours} | _PLAIN
    transformers = import_transformers()
    try:
        parsed = transformers.AutoConfig.for_model(name, **settings)
        stride = math.prod(getattr(parsed, "conv_stride", [_STRIDE]))
    except Exception as error:  # transformers and huggingface_hub have many types
        cause = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"transformers does not accept the configuration of this {name!r} network: {cause}"
        ) from error
    if stride != _STRIDE:
        raise ConfigError(f"The network must have a frame every {_STRIDE} samples, got {stride} (conv_stride).")
    return parsed


def import_transformers() -> Any:
    """Import the library, or raise MissingExtraError."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"This model needs the library transformers: pip install 'crossmodal[hf]' ({error})"
        ) from error
    return transformers
