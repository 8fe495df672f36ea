"""Sources of pretrained audio encoders: a Hub id, a folder, a weights file, or a bundle of torchaudio."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.hub_access import download_files
from crossmodal.models.speech_network import BUNDLES, TorchaudioNetwork, download_weights, find_bundle
from crossmodal.models.transformers_network import FEATURE_EXTRACTOR, TransformersNetwork, parse_config
from crossmodal.models.weights import read_state_dict
from crossmodal.models.whisper import HEAD_WIDTH, WhisperEncoder
from crossmodal.storage import read_json

_CONFIG, _EXTRACTOR, _PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_WHISPER_KEYS = ("d_model", "encoder_layers", "encoder_ffn_dim", "num_mel_bins", "max_source_positions")
_RENAMED = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


@dataclass(frozen=True)
class PretrainedSource:
    """An architecture and where its weights are.

    Attributes:
        model: Hub id, folder, or name of a bundle of torchaudio.
        revision: Branch, tag or commit on the Hub.
        weights: Path of a weights file; None for that of the model.
        config: Sizes and input of the network, as JSON values; empty for a bundle.
    """

    model: str
    revision: str | None
    weights: str | None
    config: Mapping[str, Any]

    @classmethod
    def find(
        cls, model: str, revision: str | None, weights: str | None, config: Mapping[str, Any] | None
    ) -> "PretrainedSource":
        """Find the configuration of a model, if it is not given.

        Raises:
            ConfigError: If the model is not an audio encoder, or its name is no bundle, folder or Hub id.
            HubError: If the model is not on the Hub, is gated, or the Hub cannot be reached.
            WeightsError: If the weights file is missing or cannot be read.
        """
        # Absolute, because a stored model may be loaded from another working directory.
        weights = None if weights is None else str(Path(weights).expanduser().absolute())
        if not config and _is_bundle(model):
            find_bundle(model)
            return cls(model, None, weights, {})
        if Path(model).expanduser().is_dir():
            model = str(Path(model).expanduser().absolute())
        return cls(model, revision, weights, config or _find_config(model, revision, weights))

    @property
    def is_whisper(self) -> bool:
        """True for the encoder of Whisper."""
        return self.config.get("model_type") == "whisper"

    @property
    def sample_rate(self) -> int:
        """Sample rate of the network's input in Hz."""
        return int(self.config.get(FEATURE_EXTRACTOR, {}).get("sampling_rate", 16_000))

    @property
    def num_layers(self) -> int:
        """Number of transformer layers."""
        if not self.config:
            return find_bundle(self.model).num_layers
        return int(self.config["encoder_layers" if self.is_whisper else "num_hidden_layers"])

    @property
    def width(self) -> int:
        """Width of a layer's output."""
        if not self.config:
            return find_bundle(self.model).width
        return int(self.config["d_model" if self.is_whisper else "hidden_size"])

    def create(self, num_layers: int, device: str = "meta") -> Any:
        """Create the network up to a layer, in evaluation mode; on the device ``meta`` it has no parameters yet.

        It has ``layers``, ``layer_norm`` and ``has_independent_layers``, and maps waveforms, (B, T), and lengths, (B,),
        to the states before the first layer and after each layer, (B, frames, width).
        """
        with torch.random.fork_rng(devices=[]), torch.device(device):
            if self.is_whisper:
                network: nn.Module = WhisperEncoder(self.config, num_layers)
            elif self.config:
                network = TransformersNetwork(self.config, num_layers)
            else:
                network = TorchaudioNetwork(self.model, num_layers)
        return network.eval().requires_grad_(False)

    def weights_file(self) -> Path:
        """Return the path of the weights file, downloaded if necessary.

        Raises:
            HubError: If it cannot be downloaded from the Hub.
            WeightsError: If it is missing, or not one file.
        """
        if self.weights is not None:
            if not Path(self.weights).is_file():
                raise WeightsError(f"Weights file {self.weights} of {self.model} does not exist.")
            return Path(self.weights)
        if not self.config:
            return download_weights(self.model)
        for name in _WEIGHTS:  # the second is only downloaded if the first does not exist
            folder = Path(self.model)
            if not folder.is_dir():
                folder = download_files(self.model, [name], self.revision)
            if (folder / name).is_file():
                return folder / name
        raise WeightsError(
            f"{self.model} has no weights in one file: neither {' nor '.join(_WEIGHTS)}. If its weights are in several "
            f"files, save them as one: AutoModel.from_pretrained(...).save_pretrained(FOLDER, max_shard_size='100GB')."
        )

    def tensors(self, num_layers: int) -> dict[str, Tensor]:
        """Read the tensors of the network up to a layer, with the names that it uses and the precision of the file.

        Names in the file may have a prefix, such as ``model.encoder.``, and the file may have more layers and heads.

        Raises:
            WeightsError: If tensors are missing or have another shape, or the layers in the file have more tensors.
        """
        path = self.weights_file()
        found = {_short(name): value for name, value in read_state_dict(path).items()}
        expected = {_short(name): value.shape for name, value in self.create(num_layers).state_dict().items()}
        first = next(iter(expected))
        prefixes = {name.removesuffix(first) for name in found if name.endswith(first)} or {""}
        prefix = max(sorted(prefixes), key=lambda one: sum(one + name in found for name in expected))
        wrong = [name for name, shape in expected.items() if getattr(found.get(prefix + name), "shape", None) != shape]
        # Another network may have the same layers, but more in them.
        others = {name.removeprefix(prefix) for name in found if name.startswith(prefix)} - {*expected}
        modules = {name.rsplit(".", 2)[0] for name in expected if name.count(".") > 1}
        wrong += sorted(name for name in others if name.count(".") > 1 and name.rsplit(".", 2)[0] in modules)
        if wrong:
            raise WeightsError(
                f"{path} does not fit {self.model}, whose network has {len(expected)} tensors: {len(wrong)} are "
                f"missing in the file, new or of another shape, such as {', '.join(wrong[:2])}; the file has "
                f"{', '.join(list(found)[:2]) or 'none'}. It may belong to another model or another library."
            )
        return {name: found[prefix + name] for name in expected}

    def load(self, num_layers: int) -> Any:
        """Return the network up to a layer with its weights, in float32, evaluation mode and without gradients.

        No random numbers are drawn, so loading it during training does not change other results.
        """
        tensors = self.tensors(num_layers)
        # Networks of transformers may have buffers that no file holds.
        network = self.create(num_layers, "cpu" if self.config and not self.is_whisper else "meta")
        state = {name: tensors[_short(name)].float() for name in network.state_dict()}
        network.load_state_dict(state, assign=True)
        return network.requires_grad_(False)


def _is_bundle(model: str) -> bool:
    return model in BUNDLES or (model.isupper() and "/" not in model and not Path(model).exists())


def _short(name: str) -> str:
    """Return the name of a tensor in current versions of torch, without the prefix of our own modules."""
    head, _, tail = name.removeprefix("network.").rpartition(".")
    return f"{head}.{_RENAMED[tail]}" if tail in _RENAMED else f"{head}.{tail}".removeprefix(".")


def _find_config(model: str, revision: str | None, weights: str | None) -> dict[str, Any]:
    """Read the configuration in the model's folder, beside or from the weights file, or on the Hub."""
    if Path(model).is_dir():
        return _read_config(Path(model), model)
    if weights is not None:
        if (Path(weights).parent / _CONFIG).is_file():
            return _read_config(Path(weights).parent, model)
        if sizes := _whisper_sizes(read_state_dict(Path(weights))):
            return sizes
    if model.count("/") > 1 or Path(model).expanduser().is_absolute():
        raise ConfigError(f"There is no folder {model}. model is a folder, or owner/name on the Hub.")
    return _read_config(download_files(model, [_CONFIG, _EXTRACTOR, _PROCESSOR], revision), model)


def _whisper_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the configuration of a Whisper encoder from the shapes of its tensors; empty for other networks."""
    prefix = next((name.removesuffix("conv1.weight") for name in state if name.endswith("conv1.weight")), "")
    try:
        width, num_mel_bins, _ = state[f"{prefix}conv1.weight"].shape
        positions, layer = len(state[f"{prefix}embed_positions.weight"]), f"{prefix}layers."
        depth = len({name.removeprefix(layer).partition(".")[0] for name in state if name.startswith(layer)})
        sizes = (width, depth, len(state[f"{layer}0.fc1.weight"]), num_mel_bins, positions)
    except (KeyError, ValueError):
        return {}
    return {"model_type": "whisper", **dict(zip(_WHISPER_KEYS, sizes, strict=True))}


def _read_config(folder: Path, model: str) -> dict[str, Any]:
    config, extractor, processor = (read_json(folder / name) or {} for name in (_CONFIG, _EXTRACTOR, _PROCESSOR))
    if not isinstance(config, dict) or not (kind := config.get("model_type")):
        raise ConfigError(f"{model} has no valid {_CONFIG} with a model_type, so it is not a model of transformers.")
    if kind == "whisper":
        if missing := [name for name in _WHISPER_KEYS if name not in config]:
            raise ConfigError(f"The {_CONFIG} of {model} has no {', '.join(missing)}.")
        if config.get("encoder_attention_heads", config["d_model"] // HEAD_WIDTH) * HEAD_WIDTH != config["d_model"]:
            raise ConfigError(f"The attention heads of {model} must be {HEAD_WIDTH} wide, as in every Whisper.")
        return {"model_type": kind, **{name: config[name] for name in _WHISPER_KEYS}}
    extractor = extractor or (isinstance(processor, dict) and processor.get(FEATURE_EXTRACTOR))
    if not isinstance(extractor, dict) or "sampling_rate" not in extractor:
        raise ConfigError(f"{model} ({kind}) is not an audio model: its {_EXTRACTOR} with a sampling_rate is missing.")
    config = {**config, FEATURE_EXTRACTOR: extractor}
    parsed = parse_config(config)  # configurations may leave out default values
    return config | {"num_hidden_layers": parsed.num_hidden_layers, "hidden_size": parsed.hidden_size}
