import json
import shutil

import numpy as np
import pytest
import torch
from scipy.special import softmax

import crossmodal
from crossmodal import AudioClassifier, AudioDataModule, EmotionRecognizer, save_pretrained
from crossmodal.cli.test import test_command as run_command
from crossmodal.datasets import source
from crossmodal.errors import ConfigError, LeakageError, ModelFolderError
from crossmodal.evaluation.metrics import describe
from crossmodal.evaluation.predictions import Predictions, predict
from crossmodal.inference.export import export_model
from crossmodal.inference.model_folder import load_model_folder
from crossmodal.models.serialization import load_model
from crossmodal.pipeline import evaluate as module
from crossmodal.pipeline.evaluate import evaluate
from crossmodal.tasks import FinetuneTask
from tests.tasks.tiny import trainer


@pytest.fixture
def args(finished, tiny_ravdess):
    return [f"--model={finished.folder / 'model'}", f"--data.root={tiny_ravdess}", f"--data.cache={finished.cache}"]


def test_the_training_fold_gives_the_metrics_of_the_run(finished, args, capsys):
    assert run_command([*args, "--format=json"]) == 0
    result = json.loads(capsys.readouterr().out)
    stage = finished.summary["stages"]["finetune"]
    assert [result[name] for name in ("protocol", "fold", "channel", "actors")] == ["loso24", 0, "speech", ["01"]]
    for name in ("uar", "war", "f1"):
        assert result[name] == pytest.approx(stage[f"test_{name}"])
    assert result["corpus"] == {"kind": "ravdess", "name": "RAVDESS", "clips": 16, "missing_classes": {"test": []}}
    assert result["speaker_dependent"] is False
    assert result["uar_ci95"] is None  # one test actor
    (row,) = result["by_sex"]  # actor 01, odd
    assert (row["sex"], row["actors"], row["uar"]) == ("male", ["01"], result["uar"])
    confusion = result["confusion"]
    assert sum(map(sum, confusion)) == 16
    assert [sum(row) for row in confusion] == [2] * 8  # two clips of each emotion
    assert result["war"] == pytest.approx(sum(confusion[label][label] for label in range(8)) / 16)


def test_exported_models_are_evaluated(finished, args, tmp_path, capsys):
    measured = {}
    export_model(finished.folder / "model", tmp_path / "exported", int8=True)  # without torch weights
    args[0] = f"--model={tmp_path / 'exported'}"
    for backend in ("onnx", "int8"):
        assert run_command([*args, f"--backend={backend}", "--format=json"]) == 0
        measured[backend] = json.loads(capsys.readouterr().out)
    stage = finished.summary["stages"]["finetune"]
    assert measured["onnx"]["uar"] == pytest.approx(stage["test_uar"])
    assert measured["int8"]["uar"] == pytest.approx(stage["test_uar"], abs=0.15)
    assert measured["int8"]["ece"] != measured["onnx"]["ece"]
    with pytest.raises(ModelFolderError, match=r"model\.onnx"):
        run_command([f"--model={finished.folder / 'model'}", "--backend=onnx", *args[1:]])


def test_the_table_shows_the_same_metrics(finished, args, capsys):
    assert run_command(args) == 0
    output = capsys.readouterr().out
    assert f"UAR {finished.summary['stages']['finetune']['test_uar']:.3f}" in output
    assert "16 clips of actors 01" in output
    words = " ".join(output.split())
    assert "95 % interval over actors impossible" in words
    assert f"men 1 {finished.summary['stages']['finetune']['test_uar']:.3f}" in words
    assert "chance is 0.125" in output


def test_python_gives_the_result_of_the_command(finished, args, tiny_ravdess, capsys):
    assert run_command([*args, "--format=json"]) == 0
    model, cache = finished.folder / "model", finished.cache
    result = crossmodal.test(model, data_root=tiny_ravdess, fold=0, cache=cache)
    assert json.loads(json.dumps(result.to_dict())) == json.loads(capsys.readouterr().out)
    page = result._repr_html_()
    assert f"UAR {result.uar:.3f}" in page
    assert page.count("<tr>") == 1 + 8 + 1 + 1  # the headings, the true classes and the men
    with pytest.raises(LeakageError):
        crossmodal.test(model, data_root=tiny_ravdess, fold=1, cache=cache)


def test_every_caller_gets_the_same_answer_for_the_same_clips(finished, tiny_ravdess, monkeypatch):
    """The callers: the stage, the test command, the recognizer, stored teacher outputs, and a plain Trainer."""
    measured = []
    monkeypatch.setattr(module, "describe", lambda predictions: measured.append(predictions) or describe(predictions))
    folder = load_model_folder(finished.folder / "model")
    assert folder.config["temperature"] != 1
    evaluate(folder, {"root": str(tiny_ravdess), "cache": str(finished.cache)})
    (calibrated,) = measured
    logits = np.log(calibrated.probabilities) * folder.config["temperature"]

    stage = finished.folder / "finetune"
    stored = Predictions.read_csv(stage / "predictions.csv").of("test")
    assert stored.clips == calibrated.clips
    np.testing.assert_allclose(softmax(logits, axis=1), stored.probabilities, atol=1e-5)

    recognizer = EmotionRecognizer.from_pretrained(finished.folder / "model")
    for clip, row in zip(calibrated.clips, calibrated.probabilities, strict=True):
        prediction = recognizer(next(tiny_ravdess.rglob(f"03-{clip}.wav")))
        assert list(prediction.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-4)

    datamodule = AudioDataModule(str(tiny_ravdess), protocol="loso24", cache=str(finished.cache), batch_size=5)
    datamodule.setup()
    loader = datamodule.loader(datamodule.split["test"])
    outputs = predict(folder.model, loader)  # as for stored teacher outputs
    np.testing.assert_allclose(outputs.logits.softmax(dim=1), stored.probabilities, atol=1e-5)
    task = FinetuneTask.load_from_checkpoint(stage / "checkpoints" / "best.ckpt", weights_only=True)
    rows = trainer().predict(task, loader)
    np.testing.assert_allclose(torch.cat([row["probabilities"] for row in rows]), stored.probabilities, atol=1e-5)


@pytest.mark.parametrize("fold, actor", [(1, "02"), (2, "03"), (3, "04")])
def test_an_actor_of_the_training_is_refused(args, fold, actor):
    with pytest.raises(LeakageError, match=rf"actors {actor}.*loso24 fold 0"):
        run_command([*args, f"--data.fold={fold}"])


def test_equal_actor_names_in_another_corpus_are_allowed(finished, tiny_ravdess, tmp_path):
    # The synthetic corpus numbers its actors as RAVDESS does, but they are not the same people.
    from crossmodal.datasets.synthetic import SYNTHETIC_MARKER

    root = tmp_path / "synthetic"
    shutil.copytree(tiny_ravdess, root)
    (root / SYNTHETIC_MARKER).write_text("{}")
    folder = load_model_folder(finished.folder / "model")
    result = evaluate(folder, {"root": str(root), "fold": 1, "cache": str(finished.cache)})
    assert result.corpus["kind"] == "synthetic"
    assert result.actors == ["02"]


def test_model_of_the_synthetic_corpus_warns_when_it_is_tested_on_recordings(finished, args, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(finished.folder / "model", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"corpus": config["corpus"] | {"kind": "synthetic"}}))
    for format_ in ("table", "json"):
        assert run_command([f"--model={folder}", *args[1:], f"--format={format_}"]) == 0
        assert "trained on the synthetic corpus" in " ".join(capsys.readouterr().out.split())
        assert run_command([*args, f"--format={format_}"]) == 0
        assert "synthetic" not in capsys.readouterr().out


def test_different_labels_are_refused(args):
    with pytest.raises(ConfigError, match=r"surprised.*label_set speech6"):
        run_command([*args, "--data.label_set=speech6"])


@pytest.mark.parametrize("data", [[], ["--data.root="], ["--data.fold=0"]], ids=str)
def test_model_of_real_recordings_is_never_tested_on_the_synthetic_corpus(finished, data, monkeypatch):
    monkeypatch.setattr(source, "synthesize", lambda *args, **kwargs: pytest.fail("a corpus was synthesized"))
    with pytest.raises(ConfigError, match=r"RAVDESS, speech.*--data\.root|data\.root is empty"):
        run_command([f"--model={finished.folder / 'model'}", f"--data.cache={finished.cache}", *data])


def test_model_of_unknown_recordings_is_never_tested_on_the_synthetic_corpus(finished):
    folder = load_model_folder(finished.folder / "model")
    folder.config["corpus"] = {"kind": "unknown"}
    with pytest.raises(ConfigError, match=r"unknown.*--data\.root"):
        evaluate(folder, {})


def test_a_missing_model_argument_is_refused():
    with pytest.raises(ConfigError, match="--model"):
        run_command([])


def test_an_unknown_key_suggests_the_nearest_one(args):
    with pytest.raises(ConfigError, match=r"data\.fold\b"):
        run_command([*args, "--data.fodl=1"])


def test_a_model_of_ones_own_loop_is_saved_and_tested_like_that_of_a_run(finished, args, tmp_path, capsys):
    model, _ = load_model(AudioClassifier, finished.folder / "finetune" / "model.safetensors")
    config = json.loads((finished.folder / "model" / "config.json").read_text())
    known = {"labels": config["labels"], "actors_seen": config["actors_seen"]}
    folder = save_pretrained(model, tmp_path / "model", **known)
    saved = json.loads((folder / "config.json").read_text())
    unknown = {"stage", "protocol", "fold", "num_folds", "channel", "label_set", "speaker_dependent"}
    unknown |= {"calibration", "temperature"}
    assert config.keys() - saved.keys() == unknown
    assert saved == {name: value for name, value in config.items() if name in saved} | {"corpus": {"kind": "unknown"}}
    weights = "model.safetensors"
    assert (folder / weights).read_bytes() == (finished.folder / "model" / weights).read_bytes()

    args[0] = f"--model={folder}"
    assert run_command([*args, "--data.protocol=loso24", "--format=json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["uar"] == pytest.approx(finished.summary["stages"]["finetune"]["test_uar"])
    with pytest.raises(LeakageError, match="02"):
        run_command([*args, "--data.protocol=loso24", "--data.fold=1"])
    args[0] = f"--model={save_pretrained(model, tmp_path / 'unknown', **known | {'actors_seen': None})}"
    with pytest.raises(LeakageError, match="actors_seen"):
        run_command([*args, "--data.protocol=loso24"])
    leaky = ["--data.protocol=random", "--data.allow_speaker_leakage=true", "--format=json"]
    assert run_command([*args, *leaky]) == 0
    assert json.loads(capsys.readouterr().out)["speaker_dependent"] is True


def test_the_checkpoint_of_a_stage_is_a_recognizer(finished, tiny_ravdess):
    by_folder = EmotionRecognizer.from_pretrained(finished.folder / "model", backend="torch")
    by_checkpoint = EmotionRecognizer.from_checkpoint(finished.folder / "finetune" / "checkpoints" / "best.ckpt")
    assert by_checkpoint.labels == by_folder.labels
    recording = next(tiny_ravdess.rglob("*.wav"))
    logits = [np.log([*one(recording).probabilities.values()]) for one in (by_folder, by_checkpoint)]
    centred = [one - one.mean() for one in logits]  # the checkpoint has no temperature
    np.testing.assert_allclose(centred[0] * by_folder.config["temperature"], centred[1], atol=1e-4)
