import json
import subprocess
import sys

import pytest
import torch

from crossmodal import EmotionRecognizer, __version__
from crossmodal.errors import ModelFolderError, WeightsError
from crossmodal.inference import load_model_folder, save_model_folder
from crossmodal.models.serialization import save_model


def change_config(folder, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_a_saved_model_is_loaded(model, model_folder):
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


def test_content_of_the_config(model_folder, summary):
    assert {path.name for path in model_folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    config = json.loads((model_folder / "config.json").read_text())
    assert config["labels"] == summary["labels"]
    assert config["sample_rate"] == 16_000
    assert config["actors_seen"] == ["05", "06", "09", "10"]  # training and validation actors
    # The path of the recordings is private.
    assert config["corpus"] == {key: value for key, value in summary["corpus"].items() if key != "root"}
    assert "somewhere" not in (model_folder / "README.md").read_text()
    assert (config["model"]["front_end"], config["model"]["encoder"]) == ("mfcc", "dense")
    assert config["versions"]["crossmodal"] == __version__
    assert config["versions"]["torch"] == torch.__version__
    assert not config["speaker_dependent"]


def test_an_existing_folder_is_replaced(model, copy, summary, model_folder, tmp_path):
    (copy / "model.safetensors").write_bytes(b"old")
    save_model(model, tmp_path / "trained.safetensors")
    save_model_folder(tmp_path / "trained.safetensors", copy, summary)
    assert (copy / "model.safetensors").read_bytes() == (model_folder / "model.safetensors").read_bytes()


def test_invalid_weights_are_rejected(summary, tmp_path):
    (tmp_path / "trained.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="AudioClassifier"):
        save_model_folder(tmp_path / "trained.safetensors", tmp_path / "model", summary)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "missing", [["config.json"], ["model.safetensors"], ["config.json", "model.safetensors"]], ids=str
)
def test_missing_files_are_named(copy, missing):
    (copy / "README.md").unlink()
    load_model_folder(copy)  # the card is not needed
    for name in missing:
        (copy / name).unlink()
    with pytest.raises(ModelFolderError) as caught:
        load_model_folder(copy)
    assert all(name in str(caught.value) for name in missing)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1, 2", "\x00\x01", "[" * 100_000, "[]", "{}", '"text"', '{"format": 1, "labels": []}'],
    ids=lambda content: content[:10],
)
def test_a_config_that_is_damaged_or_of_another_program(copy, content):
    (copy / "config.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"config\.json (is damaged|has no .*model)"):
        load_model_folder(copy)


@pytest.mark.parametrize(
    "key, value",
    [
        ("format", "two"),
        ("format", None),
        ("labels", 8),
        ("labels", [1, 2]),
        ("sample_rate", {}),
        ("sample_rate", 1),
        ("sample_rate", True),
        *(("temperature", value) for value in (0, -1.0, "warm", float("inf"), float("nan"), True)),
    ],
)
def test_an_invalid_value_in_the_config(copy, key, value):
    change_config(copy, **{key: value})
    with pytest.raises(ModelFolderError, match=key):
        EmotionRecognizer.from_pretrained(copy)


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"format": 2}, "newer"),
        ({"labels": ["neutral", "calm"]}, r"2 labels.* 8 classes"),
        *(
            ({"model": model}, "copy")
            for model in ({"encoder": "transfomer"}, {"encoder": "lstm"}, {"depth": 3}, "text", [])
        ),
    ],
    ids=str,
)
def test_a_config_that_does_not_fit(copy, changes, word):
    change_config(copy, **changes)
    with pytest.raises(ModelFolderError, match=word):
        EmotionRecognizer.from_pretrained(copy)


@pytest.mark.parametrize("size", [0, 100, -100])
def test_damaged_weights_name_the_folder(copy, size):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelFolderError, match="copy"):
        load_model_folder(copy)


def test_the_temperature_is_in_the_config(model, summary, tmp_path):
    save_model(model, tmp_path / "trained.safetensors")
    calibration = {"temperature": 1.5, "clips": 20, "ece_before": 0.2, "ece_after": 0.1}
    folder = save_model_folder(
        tmp_path / "trained.safetensors", tmp_path / "model", {**summary, "calibration": calibration}
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["temperature"] == 1.5
    assert config["calibration"] == {"clips": 20, "ece_before": 0.2, "ece_after": 0.1}


def test_default_temperature_is_one(copy):
    assert json.loads((copy / "config.json").read_text())["temperature"] == 1.0  # the summary has no calibration
    change_config(copy, temperature=None)
    assert "temperature" not in json.loads((copy / "config.json").read_text())
    assert EmotionRecognizer.from_pretrained(copy).model.temperature == 1.0


def test_inference_imports_no_training_code():
    code = "import sys, crossmodal.inference, crossmodal.cli.predict; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "crossmodal.inference.recognizer" in loaded
    training = ("lightning", "pytorch_lightning", "wandb", "crossmodal.tasks", "crossmodal.datamodules")
    assert not loaded & {*training, "crossmodal.losses", "crossmodal.pipeline"}
