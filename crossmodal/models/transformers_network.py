"""Audio encoders of the library ``transformers``, such as wav2vec 2.0, HuBERT, WavLM and wav2vec2-bert."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError, MissingExtraError
from crossmodal.models.speech_network import hidden_states

FEATURE_EXTRACTOR = "feature_extractor"  # key of the content of preprocessor_config.json in a model's configuration
_WAVEFORM_INPUT = "Wav2Vec2FeatureExtractor"  # the input is the waveform, perhaps normalized
_WITHOUT_RELATIVE_POSITIONS = {"data2vec-audio", "hubert", "wav2vec2"}  # a layer needs no results of other layers
# Training is our own: no random masks, layers or dropout in the frozen network.
_WITHOUT_MASKS = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "apply_spec_augment": False, "layerdrop": 0.0}


class TransformersNetwork(nn.Module):
    """Encoder of an audio model of ``transformers`` up to a layer. Clips are processed one at a time.

    Args:
        config: Content of the model's ``config.json``, with that of its ``preprocessor_config.json`` under the key
            ``feature_extractor``.
        num_layers: Number of layers; by default all.

    Raises:
        ConfigError: If it is no audio encoder.
        MissingExtraError: If ``transformers`` is not installed.
    """

    def __init__(self, config: Mapping[str, Any], num_layers: int | None = None) -> None:
        super().__init__()
        transformers = import_transformers()
        settings = {**{key: value for key, value in config.items() if key != FEATURE_EXTRACTOR}, **_WITHOUT_MASKS}
        name = config["model_type"]
        try:
            made = transformers.AutoModel.from_config(
                transformers.AutoConfig.for_model(settings.pop("model_type"), **settings),
                attn_implementation="sdpa",
                dtype=torch.float32,
            )
            layers, depth = made.encoder.layers, made.config.num_hidden_layers
        except (AttributeError, ImportError, KeyError, TypeError, ValueError) as error:
            cause = str(error).partition("\n")[0][:200]
            raise ConfigError(f"transformers cannot create an audio encoder of type {name!r}: {cause}") from error
        self.is_complete = num_layers is None or num_layers == depth
        made.encoder.layers = layers[:num_layers]
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
        stable = getattr(self.network.config, "do_stable_layer_norm", False)
        return self.network.encoder.layer_norm if stable and self.is_complete else None

    @property
    def has_independent_layers(self) -> bool:
        """True if a layer can run on its own."""
        return self.network.config.model_type in _WITHOUT_RELATIVE_POSITIONS

    def forward(self, waveform: Tensor, length: Tensor) -> list[Tensor]:
        """Encode a clip, (1, T), at the model's sample rate.

        Returns:
            The states before the first layer and after each layer, (1, frames, width) each, as the ``hidden_states`` of
            ``transformers``.
        """
        inputs = self._inputs(waveform)
        states = hidden_states(self.layers, lambda: self.network(**inputs))
        if self.layer_norm is not None:
            states[-1] = self.layer_norm(states[-1])
        return states

    def _inputs(self, waveform: Tensor) -> dict[str, Tensor]:
        kind = self._extractor.get("feature_extractor_type", _WAVEFORM_INPUT)
        if kind == _WAVEFORM_INPUT:
            if self._extractor.get("do_normalize", True):
                variance = waveform.var(dim=1, correction=0, keepdim=True)
                waveform = (waveform - waveform.mean(dim=1, keepdim=True)) / (variance + 1e-7).sqrt()
            return {"input_values": waveform}
        extractor = getattr(import_transformers(), kind)(**deepcopy(self._extractor))
        rate = self._extractor["sampling_rate"]
        inputs = extractor(waveform[0].cpu().numpy(), sampling_rate=rate, return_tensors="pt")
        return {name: value.to(waveform.device) for name, value in inputs.items()}


def import_transformers() -> Any:
    """Import the library, or raise MissingExtraError."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"This model needs the library transformers: pip install 'crossmodal[hf]' ({error})"
        ) from error
    return transformers
