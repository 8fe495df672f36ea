import json
import socket
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from crossmodal import hub_access
from crossmodal.errors import ConfigError, HubError, WeightsError
from crossmodal.models import PretrainedFrontEnd
from crossmodal.models.pretrained_source import PretrainedSource
from tests.inference.fake_hub import connected_hub, go_to
from tests.tiny_speech import shrink, write_weights, write_whisper


def find(model="openai/whisper-tiny.en", **kwargs):
    return PretrainedSource.find(**{"model": str(model), "revision": None, "weights": None, "config": None, **kwargs})


def changed(path, **changes):
    """Change a JSON file; None removes a key."""
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


@pytest.mark.parametrize("prefix", ["", "encoder.", "model.encoder."])
@pytest.mark.parametrize("half", [False, True])
def test_a_weights_file_of_whisper_needs_no_configuration(tmp_path, prefix, half):
    folder = write_whisper(tmp_path / "a")
    state = load_file(tmp_path / "a" / "model.safetensors")
    named = {prefix + name: value.half() if half else value for name, value in state.items()}
    save_file({**named, "proj_out.weight": torch.zeros(2, 2)}, tmp_path / "alone.safetensors")
    source = find(weights=str(tmp_path / "alone.safetensors"))
    assert source.config == find(folder).config
    network = source.load(3)
    assert {one.dtype for one in network.parameters()} == {torch.float32}
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model_type": None}, "model_type"),
        ({"model_type": "bert"}, "bert"),
        ({"num_mel_bins": None}, "num_mel_bins"),
        ({"encoder_attention_heads": 2}, "heads"),
    ],
)
def test_invalid_configurations(tmp_path, changes, word):
    folder = write_whisper(tmp_path)
    changed(tmp_path / "config.json", **changes)
    with pytest.raises(ConfigError, match=word):
        PretrainedFrontEnd(model=folder)


def test_missing_and_damaged_files(tmp_path):
    folder = write_whisper(tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="safetensors"):
        find(folder).load(1)
    (tmp_path / "a" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="one file"):
        find(folder).load(1)
    (tmp_path / "a" / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="config"):
        find(folder)
    with pytest.raises(WeightsError, match="gone"):
        find(weights=str(tmp_path / "gone.safetensors"))
    with pytest.raises(ConfigError, match="nowhere"):
        find(tmp_path / "nowhere")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with connected_hub(tmp_path, monkeypatch) as hub:
        write_whisper(tmp_path / "hub")
        hub.repositories["me/voice"] = [{path.name: path.read_bytes() for path in (tmp_path / "hub").iterdir()}]
        hub.files("me/voice")["modeling.py"] = b"raise SystemExit"
        yield hub


def test_a_model_of_the_hub_is_downloaded_once(hub, tmp_path, monkeypatch):
    front_end = PretrainedFrontEnd(model="me/voice")
    assert "model.safetensors" not in hub.fetched  # not before it is needed
    expected = PretrainedFrontEnd(model=str(tmp_path / "hub"))
    waveform = 0.1 * torch.randn(1, 1, 8000)
    assert torch.equal(front_end(waveform)[0], expected(waveform)[0])
    assert "modeling.py" not in hub.fetched
    monkeypatch.setattr(hub_access, "is_reachable", lambda: False)
    assert torch.equal(PretrainedFrontEnd(model="me/voice")(waveform)[0], expected(waveform)[0])


@pytest.mark.parametrize(
    ("model", "revision", "word"),
    [("me/vioce", None, "me/vioce"), ("me/voice", "v9", "v9"), ("me/gated", None, "gated"), ("./me", None, "name")],
)
def test_models_that_cannot_be_downloaded(hub, model, revision, word):
    hub.repositories["me/gated"] = hub.repositories["me/voice"]
    hub.gated.add("me/gated")
    with pytest.raises(HubError, match=word):
        PretrainedFrontEnd(model=model, revision=revision)


def test_no_network(hub, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        go_to(f"http://127.0.0.1:{unused.getsockname()[1]}", monkeypatch)
        with pytest.raises(HubError, match="reached"):
            PretrainedFrontEnd(model="me/voice")


def test_a_sharded_model_of_the_hub(hub):
    files = hub.files("me/voice")
    files["model.safetensors.index.json"] = b"{}"
    files["model-00001-of-00002.safetensors"] = files.pop("model.safetensors")
    with pytest.raises(WeightsError, match="one file"):
        PretrainedFrontEnd(model="me/voice").load()


def test_whisper_and_bundles_do_not_need_transformers(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)  # its import fails
    shrink(monkeypatch, "WAVLM_BASE")
    waveform = torch.zeros(1, 1, 8000)
    assert PretrainedFrontEnd(model=write_whisper(tmp_path))(waveform)[0].isfinite().all()
    weights = write_weights(tmp_path / "wavlm.safetensors", "WAVLM_BASE")
    assert PretrainedFrontEnd(model="WAVLM_BASE", weights=weights)(waveform)[0].isfinite().all()
