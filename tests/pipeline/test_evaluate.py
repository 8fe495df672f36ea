import json
import shutil

import pytest

from crossmodal.errors import ConfigError, LeakageError, ModelFolderError
from crossmodal.inference.export import export_model
from crossmodal.inference.model_folder import load_model_folder
from crossmodal.pipeline import evaluate as command
from crossmodal.pipeline.evaluate import evaluate


@pytest.fixture
def words(finished, tiny_ravdess):
    return [f"--model={finished.folder / 'model'}", f"--data.root={tiny_ravdess}", f"--data.cache={finished.cache}"]


def test_the_fold_that_the_model_was_trained_for_gives_the_runs_own_numbers(finished, words, capsys):
    assert command.test_command([*words, "--format=json"]) == 0
    result = json.loads(capsys.readouterr().out)
    stage = finished.summary["stages"]["finetune"]
    assert {name: result[name] for name in ("protocol", "fold", "channel", "actors")} == {
        "protocol": "loso24",
        "fold": 0,
        "channel": "speech",
        "actors": ["01"],
    }
    for name in ("uar", "war", "f1"):
        assert result[name] == pytest.approx(stage[f"test_{name}"])
    assert result["corpus"] == {"kind": "ravdess", "name": "RAVDESS", "clips": 16}
    assert result["speaker_dependent"] is False
    confusion = result["confusion"]
    assert sum(map(sum, confusion)) == 16
    assert [sum(row) for row in confusion] == [2] * 8  # two clips of each emotion
    assert result["war"] == pytest.approx(sum(confusion[label][label] for label in range(8)) / 16)


def test_an_exported_model_is_measured_as_it_is_used(finished, words, tmp_path, capsys):
    measured = {}
    export_model(finished.folder / "model", tmp_path / "exported", int8=True)  # no weights for torch beside it
    words[0] = f"--model={tmp_path / 'exported'}"
    for backend in ("onnx", "int8"):
        assert command.test_command([*words, f"--backend={backend}", "--format=json"]) == 0
        measured[backend] = json.loads(capsys.readouterr().out)
    stage = finished.summary["stages"]["finetune"]
    assert measured["onnx"]["uar"] == pytest.approx(stage["test_uar"])
    assert measured["int8"]["uar"] == pytest.approx(stage["test_uar"], abs=0.15)
    assert measured["int8"]["ece"] != measured["onnx"]["ece"]
    with pytest.raises(ModelFolderError, match=r"holds no model\.onnx: `crossmodal export MODEL`"):
        command.test_command([f"--model={finished.folder / 'model'}", "--backend=onnx", *words[1:]])


def test_a_person_reads_the_same_numbers(finished, words, capsys):
    assert command.test_command(words) == 0
    said = capsys.readouterr().out
    assert f"UAR {finished.summary['stages']['finetune']['test_uar']:.3f}" in said
    assert "RAVDESS, speech: 16 clips of actors 01 (loso24, fold 0)" in said
    assert "chance is 0.125" in said


def test_it_is_as_sure_as_predict_is(finished, tiny_ravdess, monkeypatch):
    from crossmodal.inference import EmotionRecognizer

    measured = []
    monkeypatch.setattr(command, "describe", lambda predictions: measured.append(predictions) or {})
    folder = load_model_folder(finished.folder / "model")
    assert folder.config["temperature"] != 1
    evaluate(folder, {"root": str(tiny_ravdess), "cache": str(finished.cache)})
    recognizer = EmotionRecognizer.from_pretrained(finished.folder / "model")
    clip, row = measured[0].clips[3], measured[0].probabilities[3]
    heard = recognizer(next(tiny_ravdess.rglob(f"03-{clip}.wav")))
    assert list(heard.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-4)


@pytest.mark.parametrize("fold, actor", [(1, "02"), (2, "03"), (3, "04")])
def test_an_actor_whom_the_model_has_seen_is_refused(words, fold, actor):
    with pytest.raises(LeakageError, match=rf"has seen actors {actor}.*trained for loso24 fold 0: test it there"):
        command.test_command([*words, f"--data.fold={fold}"])


def test_another_corpus_has_other_actors(finished, tiny_ravdess, tmp_path):
    # The synthetic corpus numbers its actors as RAVDESS does, but they are not the same people.
    from crossmodal.datasets.synthetic import SYNTHETIC_MARKER

    root = tmp_path / "synthetic"
    shutil.copytree(tiny_ravdess, root)
    (root / SYNTHETIC_MARKER).write_text("{}")
    folder = load_model_folder(finished.folder / "model")
    result = evaluate(folder, {"root": str(root), "fold": 1, "cache": str(finished.cache)})
    assert result["corpus"]["kind"] == "synthetic"
    assert result["actors"] == ["02"]


def test_other_labels_are_refused(words):
    with pytest.raises(ConfigError, match=r"The model knows neutral, .*surprised; label_set speech6 is"):
        command.test_command([*words, "--data.label_set=speech6"])


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelFolderError, match=r"not a model folder.*crossmodal fit"):
        command.test_command([f"--model={tmp_path}"])


def test_no_model_at_all():
    with pytest.raises(ConfigError, match="Give its folder: --model runs/fit/model"):
        command.test_command([])


def test_a_mistyped_key_gets_the_nearest_one(words):
    with pytest.raises(ConfigError, match=r"Did you mean data\.fold\?"):
        command.test_command([*words, "--data.fodl=1"])
