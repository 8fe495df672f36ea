import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from crossmodal.errors import ConfigError, MissingExtraError, WeightsError
from crossmodal.models import AudioClassifier, PretrainedFrontEnd
from crossmodal.models.pretrained_source import PretrainedSource
from crossmodal.models.serialization import load_model, save_model
from tests.tiny_speech import LAYERS, TRANSFORMERS, transformers_model, write_transformers

transformers = pytest.importorskip("transformers")
OLD = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing is needed from the Hub."""
    monkeypatch.setattr("crossmodal.models.pretrained_source.download_files", None)


def sound(seconds=0.6, seed=0):
    return 0.1 * torch.randn(1, int(16_000 * seconds), generator=torch.Generator().manual_seed(seed))


def find(folder, **kwargs):
    return PretrainedSource.find(**{"model": str(folder), "revision": None, "weights": None, "config": None, **kwargs})


def states_of(source, num_layers=LAYERS):
    network, waveform = source.load(num_layers), sound()
    with torch.no_grad():
        return network(waveform, torch.tensor([waveform.shape[1]]))


@pytest.mark.parametrize("num_layers", [LAYERS, 1])
@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_states_equal_those_of_transformers(tmp_path, kind, num_layers):
    source = find(write_transformers(tmp_path, kind))
    before = torch.get_rng_state()
    states = states_of(source, num_layers)
    assert torch.equal(torch.get_rng_state(), before), "loading must not draw random numbers"
    inputs = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)(
        sound()[0].numpy(), sampling_rate=16_000, return_tensors="pt"
    )
    theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = theirs(**inputs, output_hidden_states=True)
    hidden = [*expected.hidden_states[:LAYERS], expected.last_hidden_state]
    assert len(states) == 1 + num_layers
    for one, other in zip(states, hidden, strict=False):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", ["AutoModelForAudioClassification", "AutoModelForCTC", "AutoModelForPreTraining"])
def test_fine_tuned_models_have_a_prefix_and_a_head(tmp_path, head):
    source = find(write_transformers(tmp_path, "wav2vec2", head))
    state = load_file(tmp_path / "model.safetensors")
    assert any(name.startswith("wav2vec2.") for name in state)
    network = source.load(LAYERS)
    for name, value in network.network.state_dict().items():
        assert torch.equal(value, state[f"wav2vec2.{name}"])


@pytest.mark.parametrize("change", ["bin", "half", "old names"])
def test_formats_of_weights(tmp_path, change):
    expected = states_of(find(write_transformers(tmp_path, "hubert stable")))
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    if change == "bin":
        torch.save(state, tmp_path / "pytorch_model.bin")
        path.unlink()
    elif change == "half":
        save_file({name: value.half() for name, value in state.items()}, path)
    else:
        for new, old in OLD.items():
            state = {name.replace(new, old): value for name, value in state.items()}
        assert any(name.endswith("weight_g") for name in state)
        save_file(state, path)
    states = states_of(find(tmp_path))
    assert {one.dtype for one in states} == {torch.float32}
    for one, other in zip(states, expected, strict=True):
        torch.testing.assert_close(one, other, **({"rtol": 0.1, "atol": 0.1} if change == "half" else {}))


class Executed:
    def __reduce__(self):
        return exec, ("raise SystemExit",)


def test_files_that_are_refused(tmp_path):
    source = find(write_transformers(tmp_path, "wav2vec2"))
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    save_file({name: value for name, value in state.items() if "layers.1." not in name}, path)
    with pytest.raises(WeightsError, match="missing"):
        source.load(LAYERS)
    path.unlink()
    torch.save({"model": Executed()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="code"):
        source.load(LAYERS)
    (tmp_path / "pytorch_model.bin").unlink()
    transformers_model("wav2vec2").save_pretrained(tmp_path, max_shard_size="10KB")
    with pytest.raises(WeightsError, match="one file"):
        source.load(LAYERS)


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_code_of_a_model_is_never_executed(tmp_path):
    write_transformers(tmp_path, "wav2vec2")
    (tmp_path / "evil.py").write_text("raise SystemExit")
    names = ("AutoConfig", "AutoModel", "AutoFeatureExtractor")
    change_json(tmp_path / "config.json", auto_map={name: "evil.Model" for name in names})
    change_json(tmp_path / "preprocessor_config.json", auto_map={name: "evil.Model" for name in names})
    source = find(tmp_path)
    assert len(states_of(source)) == 1 + LAYERS
    change_json(tmp_path / "preprocessor_config.json", feature_extractor_type="pipeline")
    with pytest.raises(ConfigError, match="pipeline"):
        find(tmp_path)
    with pytest.raises(ConfigError, match="pipeline"):
        find(tmp_path, config={**source.config, "feature_extractor": {"feature_extractor_type": "pipeline"}}).create(1)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model_type": "bert"}, "bert"),
        ({"model_type": "audio-spectrogram-transformer"}, "audio-spectrogram-transformer"),
        ({"model_type": ""}, "model_type"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 4]}, "640"),
        ({"hidden_size": "wide"}, "wav2vec2"),
    ],
)
def test_other_networks_are_config_errors(tmp_path, changes, word):
    write_transformers(tmp_path, "wav2vec2")
    change_json(tmp_path / "config.json", **changes)
    with pytest.raises(ConfigError, match=word):
        PretrainedFrontEnd(model=str(tmp_path))


def test_models_without_a_feature_extractor_for_sound(tmp_path):
    write_transformers(tmp_path, "wav2vec2")
    path = tmp_path / "preprocessor_config.json"
    extractor = json.loads(path.read_text())
    path.write_text(json.dumps({"image_processor_type": "ViTImageProcessor", "size": 224}))
    with pytest.raises(ConfigError, match="audio"):
        find(tmp_path)
    path.unlink()
    with pytest.raises(ConfigError, match="audio"):
        find(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": extractor}))  # of transformers 5
    assert find(tmp_path).config["feature_extractor"] == extractor


def test_the_sample_rate_and_normalization_are_those_of_the_extractor(tmp_path):
    write_transformers(tmp_path, "data2vec-audio")
    change_json(tmp_path / "preprocessor_config.json", sampling_rate=8000)
    with pytest.raises(ConfigError, match="8000"):
        PretrainedFrontEnd(model=str(tmp_path))
    assert PretrainedFrontEnd(8000, model=str(tmp_path)).source.sample_rate == 8000
    quiet, loud = (find(tmp_path).load(1)(scale * sound(), None)[1] for scale in (0.1, 1.0))
    assert (quiet - loud).abs().max() > 0.01
    change_json(tmp_path / "preprocessor_config.json", do_normalize=True)
    quiet, loud = (find(tmp_path).load(1)(scale * sound(), None)[1] for scale in (0.1, 1.0))
    torch.testing.assert_close(quiet, loud, rtol=1e-3, atol=1e-3)


def test_defaults_that_a_configuration_leaves_out(tmp_path):
    write_transformers(tmp_path, "wav2vec2")
    config = json.loads((tmp_path / "config.json").read_text())
    del config["num_hidden_layers"], config["hidden_size"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    source = find(tmp_path)
    assert (source.num_layers, source.width) == (12, 768)


@pytest.mark.parametrize("kind", ["wav2vec2 stable", "wav2vec2-bert"])
def test_a_stored_model_is_created_without_its_folder(tmp_path, kind):
    folder = write_transformers(tmp_path / "network", kind)
    model = AudioClassifier("pretrained", "dense", 3, front_end_kwargs={"model": folder, "layers": [2]}).eval()
    save_model(model, tmp_path / "model.safetensors")
    weights = (tmp_path / "network" / "model.safetensors").rename(tmp_path / "weights.safetensors")
    for file in (tmp_path / "network").iterdir():
        file.unlink()
    again, _ = load_model(AudioClassifier, tmp_path / "model.safetensors")
    assert again.config == model.config
    config = again.config
    config["front_end_kwargs"]["weights"] = str(weights)
    moved = AudioClassifier(**config).eval()
    moved.load_state_dict(model.state_dict())
    assert moved(sound()[None]).isfinite().all()


def test_without_transformers_the_extra_is_named(tmp_path, monkeypatch):
    write_transformers(tmp_path, "wav2vec2")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"crossmodal\[hf\]"):
        PretrainedFrontEnd(model=str(tmp_path))
