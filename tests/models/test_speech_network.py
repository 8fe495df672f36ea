import io
import math
import socket
import time
from unittest.mock import Mock
from urllib.error import HTTPError, URLError

import pytest
import torch
import torchaudio
from safetensors.torch import save_file

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.models import speech_network
from crossmodal.models.pretrained_source import PretrainedSource
from crossmodal.models.speech_network import BUNDLES, TorchaudioNetwork, download_weights, find_bundle
from crossmodal.models.weights import hash_tensors
from tests.tiny_speech import BUNDLE, random_network, shrink, torchaudio_network, write_weights

FILE = "wav2vec2_fairseq_base_ls960.pth"
KINDS = ["WAV2VEC2_BASE", "HUBERT_LARGE", "WAVLM_BASE"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return torchaudio's empty download folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def tiny(monkeypatch):
    for name in KINDS:
        shrink(monkeypatch, name)


def load(path, name=BUNDLE):
    return PretrainedSource.find(name, None, str(path), None).load(BUNDLES[name].num_layers)


def settings(network):
    """Return all numbers and flags of a network's modules, except those of dropout, which inference does not use."""
    unused = {"p", "dropout", "layer_drop"}
    modules = [vars(module).items() for module in network.eval().modules()]
    return [{key: value for key, value in one if key not in unused and isinstance(value, int | str)} for one in modules]


def test_bundles_are_those_of_torchaudio_without_a_head():
    pipelines = vars(torchaudio.pipelines).items()
    bundles = {name: value for name, value in pipelines if isinstance(value, torchaudio.pipelines.Wav2Vec2Bundle)}
    assert BUNDLES.keys() == {name for name, bundle in bundles.items() if not bundle._params["aux_num_out"]}
    for name, ours in BUNDLES.items():
        theirs, params = bundles[name], bundles[name]._params
        assert ours.file == theirs._path
        assert (ours.normalizes, 16_000) == (theirs._normalize_waveform, theirs.sample_rate)
        assert (ours.num_layers, ours.width) == (params["encoder_num_layers"], params["encoder_embed_dim"])
        assert math.prod(stride for _, _, stride in params["extractor_conv_layer_config"]) == 320


@pytest.mark.parametrize("name", BUNDLES)
def test_architectures_are_those_of_torchaudio(name):
    with torch.device("meta"):
        ours, theirs = BUNDLES[name].make(), torchaudio_network(name)
    shapes, expected = ({key: value.shape for key, value in one.state_dict().items()} for one in (ours, theirs))
    assert shapes == expected
    assert settings(ours) == settings(theirs)


@pytest.mark.parametrize("name", ["WAV2VEC_BASE", "WAV2VEC2_ASR_BASE_960H", "__doc__"])
def test_an_unknown_bundle_is_a_config_error(name):
    with pytest.raises(ConfigError, match=f"{name}.*HUBERT_BASE, .*WAVLM_LARGE"):
        find_bundle(name)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_network_is_loaded_from_a_file(tiny, tmp_path, name, suffix):
    path = tmp_path / f"weights{suffix}"
    write_weights(path, name)
    before = torch.get_rng_state()
    network = load(path, name)
    assert torch.equal(torch.get_rng_state(), before), "loading must not draw random numbers"
    assert not network.training
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in network.parameters())
    waveform = torch.randn(1, 4000)
    with torch.no_grad():
        states = network(waveform, torch.tensor([4000]))[1:]
        inputs = torch.nn.functional.layer_norm(waveform, waveform.shape) if BUNDLES[name].normalizes else waveform
        expected = random_network(name).extract_features(inputs)[0]
    for one, other in zip(states, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_keys_of_older_weight_normalization_and_a_head_are_accepted(tiny, tmp_path):
    state = random_network().state_dict()
    # The names in the files on torchaudio's server.
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    old = {name: value for name, value in state.items() if "original" not in name}
    for new, former in names.items():
        old |= {name.replace(new, former): value for name, value in state.items() if new in name}
    assert len(old) == len(state)
    torch.save({**old, "aux.weight": torch.zeros(29, 16), "aux.bias": torch.zeros(29)}, tmp_path / "old.pth")
    network = load(tmp_path / "old.pth")
    assert all(torch.equal(value, state[name]) for name, value in network.network.state_dict().items())


def test_half_precision_weights_are_loaded_as_float32(tiny, tmp_path):
    state = {name: value.half() for name, value in random_network().state_dict().items()}
    save_file(state, tmp_path / "half.safetensors")
    network = load(tmp_path / "half.safetensors")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("made_for", ["HUBERT_LARGE", "WAVLM_BASE"])
def test_weights_of_another_architecture_are_a_weights_error(tiny, tmp_path, made_for):
    path = tmp_path / "other.safetensors"
    write_weights(path, made_for)
    with pytest.raises(WeightsError, match=r"other\.safetensors.*WAV2VEC2_BASE"):
        load(path)


def test_a_missing_file_is_a_weights_error(tiny, tmp_path):
    with pytest.raises(WeightsError, match=r"gone\.pth"):
        load(tmp_path / "gone.pth")


def test_the_digest_depends_on_the_content_but_not_the_format(tiny, tmp_path):
    def digest_of(name, seed=0):
        weights = write_weights(tmp_path / name, seed=seed)
        return hash_tensors(PretrainedSource.find(BUNDLE, None, weights, None).tensors(3))

    assert digest_of("a.safetensors") == digest_of("a.pth") != digest_of("b.safetensors", seed=1)


def test_only_wavlm_has_relative_positions(tiny):
    assert [TorchaudioNetwork(name, 1).has_independent_layers for name in KINDS] == [True, True, False]


class Response(io.BytesIO):
    def __init__(self, content, size=None):
        super().__init__(content)
        self.headers = {"Content-Length": str(size or len(content))}


def test_weights_are_downloaded_once_to_torchaudios_location(hub, monkeypatch):
    monkeypatch.setattr(speech_network, "urlopen", lambda url, timeout: Response(b"weights" * 1000))
    assert download_weights(BUNDLE) == hub / FILE
    assert (hub / FILE).read_bytes() == b"weights" * 1000
    monkeypatch.setattr(speech_network, "urlopen", None)
    assert download_weights(BUNDLE) == hub / FILE


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (Response(b"weights", 5000), "of 5000 bytes"),
        (HTTPError("http://gone", 403, "Forbidden", {}, None), "403"),
        (URLError(socket.gaierror(-3, "failure in name resolution")), "WAV2VEC2_BASE.*name resolution"),
    ],
)
def test_a_failed_download_is_a_weights_error_and_leaves_no_file(hub, monkeypatch, answer, cause):
    monkeypatch.setattr(speech_network, "urlopen", Mock(side_effect=[answer]))
    with pytest.raises(WeightsError, match=cause) as caught:
        download_weights(BUNDLE)
    for part in (str(hub / FILE), f"https://download.pytorch.org/torchaudio/models/{FILE}", "front_end_kwargs.weights"):
        assert part in str(caught.value)
    assert not hub.exists() or list(hub.iterdir()) == []


def test_a_silent_server_times_out(hub, monkeypatch):
    with socket.socket() as listening:  # accepts the connection and sends nothing
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        monkeypatch.setattr(speech_network, "_SOURCE", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setattr(speech_network, "_TIMEOUT_SECONDS", 0.2)
        start = time.monotonic()
        with pytest.raises(WeightsError, match="timed out"):
            download_weights(BUNDLE)
        assert time.monotonic() - start < 5
