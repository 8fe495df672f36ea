"""Pretrained audio encoders a thousandth of their size, bundles under the names of the real ones."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchaudio
from safetensors.torch import save_file
from torchaudio.models import wav2vec2_model, wavlm_model

from crossmodal.models.speech_network import BUNDLES
from crossmodal.models.whisper import WhisperEncoder

BUNDLE = "WAV2VEC2_BASE"
LAYERS, WIDTH = 3, 16
_SMALL = {
    "encoder_embed_dim": WIDTH,
    "encoder_num_layers": LAYERS,
    "encoder_num_heads": 2,
    "encoder_ff_interm_features": 32,
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 2,
}


def torchaudio_network(name: str, **params: object) -> torch.nn.Module:
    """Create the network of torchaudio's bundle, with some parameters replaced."""
    bundle = getattr(torchaudio.pipelines, name)
    make = {"Wav2Vec2": wav2vec2_model, "WavLM": wavlm_model}[bundle._model_type]
    return make(**bundle._params | params)


def shrink(patch: pytest.MonkeyPatch, name: str = BUNDLE) -> None:
    """Replace a network by a tiny one: the same convolutions in time, fewer channels and layers."""
    convolutions = getattr(torchaudio.pipelines, name)._params["extractor_conv_layer_config"]
    params = {**_SMALL, "extractor_conv_layer_config": [(8, kernel, stride) for _, kernel, stride in convolutions]}
    tiny = BUNDLES[name]._replace(make=lambda: torchaudio_network(name, **params), num_layers=LAYERS, width=WIDTH)
    patch.setitem(BUNDLES, name, tiny)


def random_network(name: str = BUNDLE, seed: int = 0) -> torch.nn.Module:
    """Create a network with random weights, large enough to tell clips apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = BUNDLES[name].make()
    return network.eval()


def write_weights(path: Path, name: str = BUNDLE, seed: int = 0) -> str:
    """Write random weights, safetensors or torch by the suffix."""
    state = random_network(name, seed).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


WHISPER_LAYERS, WHISPER_WIDTH = 3, 64
_WHISPER = {"d_model": WHISPER_WIDTH, "encoder_layers": WHISPER_LAYERS, "encoder_ffn_dim": 64, "num_mel_bins": 16}


def write_whisper(folder: Path, seed: int = 0, positions: int = 200, suffix: str = ".safetensors") -> str:
    """Write a folder with a Whisper encoder with random weights and a context of some positions, of 20 ms each."""
    config = {"model_type": "whisper", **_WHISPER, "max_source_positions": positions}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = WhisperEncoder(config).state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if suffix == ".safetensors":
        save_file(state, folder / "model.safetensors")
    else:
        torch.save(state, folder / "pytorch_model.bin")
    return str(folder)


_STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_ENCODER = {"hidden_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 64}
_CONVOLUTIONS = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
# Networks of transformers: type and settings.
TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2": ("wav2vec2", _CONVOLUTIONS),
    "wav2vec2 stable": ("wav2vec2", _CONVOLUTIONS | _STABLE),
    "hubert": ("hubert", _CONVOLUTIONS),
    "hubert stable": ("hubert", _CONVOLUTIONS | _STABLE),
    "unispeech": ("unispeech", _CONVOLUTIONS),
    "unispeech-sat stable": ("unispeech-sat", _CONVOLUTIONS | _STABLE),
    "data2vec-audio": ("data2vec-audio", _CONVOLUTIONS),
    "wavlm": ("wavlm", _CONVOLUTIONS),
    "wavlm stable": ("wavlm", _CONVOLUTIONS | _STABLE),
    "wav2vec2-conformer": ("wav2vec2-conformer", _CONVOLUTIONS),
    "wav2vec2-bert": ("wav2vec2-bert", {"feature_projection_input_dim": 160}),
}


def transformers_model(kind: str, head: str = "AutoModel", seed: int = 0) -> Any:
    """Create a network of transformers with random weights, among them those of its normalization."""
    import transformers

    name, settings = TRANSFORMERS[kind]
    config = transformers.AutoConfig.for_model(name, **_ENCODER, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, head).from_config(config).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm) and module.weight is not None:
                module.weight.data.uniform_(0.5, 1.5)
    return model


def write_transformers(folder: Path, kind: str, head: str = "AutoModel", seed: int = 0) -> str:
    """Write a folder with a network of transformers and its feature extractor."""
    import transformers

    transformers_model(kind, head, seed).save_pretrained(folder)
    is_bert = kind == "wav2vec2-bert"
    normalize = {} if is_bert else {"do_normalize": "stable" in kind}
    name = "SeamlessM4TFeatureExtractor" if is_bert else "Wav2Vec2FeatureExtractor"
    getattr(transformers, name)(**normalize).save_pretrained(folder)
    return str(folder)
