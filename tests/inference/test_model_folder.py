import json
import re
import shutil
import subprocess
import sys

import pytest
import torch

from crossmodal import EmotionRecognizer, __version__
from crossmodal.errors import ModelFolderError, WeightsError
from crossmodal.inference import load_model_folder, save_model_folder
from crossmodal.models.handover import save_model


@pytest.fixture
def copy(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "copy")


def change_config(folder, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_what_is_saved_is_loaded(model, model_folder):
    loaded = load_model_folder(model_folder)
    assert not loaded.model.training
    assert loaded.model.config == model.config
    weights, expected = loaded.model.state_dict(), model.state_dict()
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(weights[name], tensor), name
    waveform = torch.linspace(-0.5, 0.5, 16_000).view(1, 1, -1)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(waveform), model(waveform), rtol=0, atol=0)


def test_the_folder_holds_three_files(model_folder):
    assert {path.name for path in model_folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}


def test_the_config_says_what_it_was_made_of(model_folder, summary):
    config = json.loads((model_folder / "config.json").read_text())
    assert config["labels"] == summary["labels"]
    assert config["sample_rate"] == 16_000
    assert config["actors_seen"] == ["05", "06", "09", "10"]  # trained on, or used to choose the model
    # Where the recordings lay on whose machine is nobody's business.
    assert config["corpus"] == {key: value for key, value in summary["corpus"].items() if key != "root"}
    assert "somewhere" not in (model_folder / "README.md").read_text()
    assert (config["model"]["front_end"], config["model"]["encoder"]) == ("mfcc", "dense")
    assert config["versions"]["crossmodal"] == __version__
    assert config["versions"]["torch"] == torch.__version__
    assert not config["speaker_dependent"]


def test_a_folder_that_is_there_is_replaced(model, copy, summary, model_folder, tmp_path):
    (copy / "model.safetensors").write_bytes(b"old")
    save_model(model, tmp_path / "trained.safetensors")
    save_model_folder(tmp_path / "trained.safetensors", copy, summary)
    assert (copy / "model.safetensors").read_bytes() == (model_folder / "model.safetensors").read_bytes()


def test_weights_that_are_no_voice_model_are_not_exported(summary, tmp_path):
    (tmp_path / "trained.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="AudioClassifier"):
        save_model_folder(tmp_path / "trained.safetensors", tmp_path / "model", summary)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        (["config.json"], "config.json not there"),
        (["model.safetensors"], "model.safetensors not there"),
        (["config.json", "model.safetensors"], "config.json and model.safetensors not there"),
    ],
)
def test_a_missing_file_is_named(copy, lost, named):
    for name in lost:
        (copy / name).unlink()
    with pytest.raises(ModelFolderError, match=re.escape(f"is not a model folder: {named}")) as caught:
        load_model_folder(copy)
    assert "`crossmodal fit` writes one at runs/<name>/model" in str(caught.value)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(ModelFolderError, match=r"nowhere is not a model folder"):
        EmotionRecognizer.from_pretrained(tmp_path / "nowhere")


def test_the_card_is_not_needed_to_load(copy):
    (copy / "README.md").unlink()
    load_model_folder(copy)


@pytest.mark.parametrize("content", ["", "{", "[1, 2", "\x00\x01"])
def test_a_damaged_config_is_named(copy, content):
    (copy / "config.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"config\.json is damaged"):
        load_model_folder(copy)


@pytest.mark.parametrize("content", ["[]", "{}", '"text"', '{"format": 1, "labels": []}'])
def test_a_config_of_another_make_is_refused(copy, content):
    (copy / "config.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"config\.json does not say .*model.*not the config of a crossmodal"):
        load_model_folder(copy)


@pytest.mark.parametrize("changes", [{"format": "two"}, {"format": None}, {"labels": 8}])
def test_a_config_whose_values_cannot_be_is_refused(copy, changes):
    change_config(copy, **changes)
    with pytest.raises(ModelFolderError, match=next(iter(changes))):
        EmotionRecognizer.from_pretrained(copy)


def test_the_temperature_is_in_the_config(model, summary, tmp_path):
    save_model(model, tmp_path / "trained.safetensors")
    calibration = {"temperature": 1.5, "clips": 20, "ece_before": 0.2, "ece_after": 0.1}
    folder = save_model_folder(
        tmp_path / "trained.safetensors", tmp_path / "model", {**summary, "calibration": calibration}
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["temperature"] == 1.5
    assert config["calibration"] == {"clips": 20, "ece_before": 0.2, "ece_after": 0.1}


def test_without_validation_clips_and_in_an_older_folder_it_is_one(copy):
    assert json.loads((copy / "config.json").read_text())["temperature"] == 1.0  # the fixture's summary has none
    change_config(copy, temperature=None)
    assert "temperature" not in json.loads((copy / "config.json").read_text())
    assert EmotionRecognizer.from_pretrained(copy).model.temperature == 1.0


@pytest.mark.parametrize("temperature", [0, -1.0, "warm", float("inf"), float("nan"), True])
def test_a_temperature_that_cannot_be(copy, temperature):
    change_config(copy, temperature=temperature)
    with pytest.raises(ModelFolderError, match="temperature must be a number above 0"):
        EmotionRecognizer.from_pretrained(copy)


def test_a_folder_of_a_newer_version_says_so(copy):
    change_config(copy, format=2)
    with pytest.raises(ModelFolderError, match=r"config\.json was written by a newer crossmodal than this one"):
        load_model_folder(copy)


@pytest.mark.parametrize(
    "model_config",
    [{"encoder": "transfomer"}, {"encoder": "lstm"}, {"num_classes": 8, "depth": 3}, "text", []],
    ids=["unknown encoder", "another encoder", "unknown argument", "text", "list"],
)
def test_a_model_that_cannot_be_rebuilt_names_the_folder(copy, model_config):
    change_config(copy, model=model_config)
    with pytest.raises(ModelFolderError, match=r"The model in .*copy cannot be rebuilt"):
        load_model_folder(copy)


@pytest.mark.parametrize("size", [0, 100, -100])
def test_damaged_weights_name_the_folder(copy, size):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelFolderError, match=r"The model in .*copy cannot be rebuilt"):
        load_model_folder(copy)


def test_labels_and_classes_must_be_as_many(copy):
    change_config(copy, labels=["neutral", "calm"])
    with pytest.raises(ModelFolderError, match="names 2 labels for 8 classes"):
        EmotionRecognizer.from_pretrained(copy)


def test_inference_needs_nothing_of_the_training_half():
    code = "import sys, crossmodal.inference, crossmodal.cli.predict; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "crossmodal.inference.recognizer" in loaded
    training_half = ("lightning", "pytorch_lightning", "wandb", "crossmodal.tasks", "crossmodal.datamodules")
    assert not loaded & {*training_half, "crossmodal.losses", "crossmodal.pipeline"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sample_rate": {}}, "sample_rate must be a whole number"),
        ({"sample_rate": 1}, "sample_rate must be a whole number"),
        ({"sample_rate": True}, "sample_rate must be a whole number"),
        ({"labels": [1, 2]}, "labels a list of words"),
    ],
)
def test_values_that_no_config_has_are_damage(copy, change, told):
    change_config(copy, **change)
    with pytest.raises(ModelFolderError, match=told):
        load_model_folder(copy)


def test_a_config_of_brackets_is_damaged(copy):
    (copy / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelFolderError, match="is damaged"):
        load_model_folder(copy)
