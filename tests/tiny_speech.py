"""Self-supervised networks a thousandth of their size, under the names of the real ones."""

from pathlib import Path

import pytest
import torch
import torchaudio
from safetensors.torch import save_file
from torchaudio.models import wav2vec2_model, wavlm_model

from crossmodal.models.speech_network import BUNDLES

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
