import json
import shutil

import pytest
import torch

from crossmodal import EmotionRecognizer, __version__
from crossmodal.errors import ModelFolderError, WeightsError
from crossmodal.inference import load_model_folder, save_model_folder
from crossmodal.models import AudioClassifier
from tests.tiny_speech import write_transformers, write_whisper


def change_config(folder, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_a_saved_model_is_loaded(model, model_folder):
    loaded = load_model_folder(model_folder)
    assert not loaded.model.training
    assert loaded.model.config == model.config
    torch.testing.assert_close(loaded.model.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_content_of_the_config(model_folder, summary):
    assert {path.name for path in model_folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    config = json.loads((model_folder / "config.json").read_text())
    assert (config["labels"], config["sample_rate"]) == (summary["labels"], 16_000)
    assert config["actors_seen"] == ["05", "06", "09", "10"]  # training and validation actors
    # The path of the recordings is private.
    assert config["corpus"] == {key: value for key, value in summary["corpus"].items() if key != "root"}
    assert "somewhere" not in (model_folder / "README.md").read_text()
    assert (config["model"]["front_end"], config["model"]["encoder"]) == ("mfcc", "dense")
    assert config["versions"].items() >= {"crossmodal": __version__, "torch": torch.__version__}.items()
    assert not config["speaker_dependent"]


def test_saving_the_same_model_changes_nothing(save, copy):
    (copy / "model.onnx").write_bytes(b"exported")
    (copy / "README.md").write_text("My own words.")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"versions": {"crossmodal": "older"}}))
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in copy.iterdir()}
    assert save(copy) == copy
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in copy.iterdir()} == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


@pytest.mark.parametrize("changes", [{"calibration": {"temperature": 2.0}}, {"fold": 1}], ids=str)
def test_saving_another_model_moves_the_old_one(save, copy, changes, capsys):
    (copy / "model.onnx").write_bytes(b"exported")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    for number, other in enumerate([changes, {}], start=1):
        save(copy, **other)
        assert str(copy.with_name(f"copy.old{number}")) in capsys.readouterr().err
        assert not (copy / "model.onnx").exists()
    assert {path.name: path.read_bytes() for path in copy.with_name("copy.old1").iterdir()} == before
    load_model_folder(copy)


def test_an_incomplete_folder_is_completed(save, copy):
    (copy / "config.json").unlink()  # as after a kill
    (copy / "model.safetensors").write_bytes(b"half")
    save(copy)
    load_model_folder(copy)
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


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
        *(("format", value) for value in ("two", None)),
        *(("labels", value) for value in (8, [1, 2])),
        *(("sample_rate", value) for value in ({}, 1, True)),
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
        *(({"model": {"encoder": name}}, "copy") for name in ("transfomer", "lstm")),
        *(({"model": model}, "copy") for model in ({"depth": 3}, "text", [])),
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


def test_the_temperature_is_in_the_config_and_one_by_default(save, copy):
    calibration = {"clips": 20, "ece_before": 0.2, "ece_after": 0.1}
    config = json.loads((save(calibration=calibration | {"temperature": 1.5}) / "config.json").read_text())
    assert (config["temperature"], config["calibration"]) == (1.5, calibration)
    assert json.loads((copy / "config.json").read_text())["temperature"] == 1.0  # the summary has no calibration
    change_config(copy, temperature=None)
    assert EmotionRecognizer.from_pretrained(copy).model.temperature == 1.0


@pytest.mark.parametrize(
    ("network", "trainable"), [("whisper", 0), ("whisper", 1), ("wav2vec2", 1), ("wav2vec2-bert", 0)]
)
def test_a_pretrained_network_is_in_the_folder(save, tmp_path, network, trainable):
    if network == "whisper":
        source = write_whisper(tmp_path / "private" / network)
    else:
        pytest.importorskip("transformers")
        source = write_transformers(tmp_path / "private" / network, network)
    kwargs = {"model": source, "layers": [1, 3], "trainable_layers": trainable}
    model = AudioClassifier("pretrained", "dense", front_end_kwargs=kwargs).eval()
    model.front_end.load_trained_layers()
    waveform = 0.1 * torch.randn(2, 1, 8000)
    expected = model(waveform, torch.tensor([8000, 5000]))
    folder = save(model=model)
    shutil.rmtree(tmp_path / "private")
    assert save(folder, load_model_folder(folder).model) == folder  # the same model
    loaded = load_model_folder(shutil.move(folder, tmp_path / "moved")).model
    assert torch.equal(loaded(waveform, torch.tensor([8000, 5000])), expected)
    assert "private" not in (tmp_path / "moved" / "config.json").read_text()
    (front_end_file,) = {path.name for path in (tmp_path / "moved").iterdir()} - {
        "model.safetensors",
        "config.json",
        "README.md",
    }
    (tmp_path / "moved" / front_end_file).unlink()
    with pytest.raises(ModelFolderError, match=front_end_file):
        load_model_folder(tmp_path / "moved")
