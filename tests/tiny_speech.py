"""Self-supervised networks a thousandth of their size, under the names of torchaudio's bundles."""

from pathlib import Path

import pytest
import torch
import torchaudio
from safetensors.torch import save_file
from torchaudio.models import wav2vec2_model, wavlm_model

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


def shrink(patch: pytest.MonkeyPatch, name: str = BUNDLE) -> None:
    """Put a tiny architecture in the place of a bundle's: the same convolutions in time, fewer channels and layers."""
    bundle = getattr(torchaudio.pipelines, name)
    convolutions = [(8, kernel, stride) for _, kernel, stride in bundle._params["extractor_conv_layer_config"]]
    params = {**bundle._params, **_SMALL, "extractor_conv_layer_config": convolutions}
    tiny = type(bundle)(bundle._path, params, bundle._sample_rate, bundle._normalize_waveform, bundle._model_type)
    patch.setattr(torchaudio.pipelines, name, tiny)


def random_network(name: str = BUNDLE, seed: int = 0) -> torch.nn.Module:
    """The bundle's network, without what `crossmodal` makes of it, with weights large enough to tell clips apart."""
    bundle = getattr(torchaudio.pipelines, name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = {"Wav2Vec2": wav2vec2_model, "WavLM": wavlm_model}[bundle._model_type](**bundle._params)
    return network.eval()


def write_weights(path: Path, name: str = BUNDLE, seed: int = 0) -> str:
    """A file of random weights of a bundle, safetensors or torch by the suffix."""
    state = random_network(name, seed).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)
