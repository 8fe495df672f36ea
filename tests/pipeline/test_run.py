import json
import shutil

import pytest
from lightning.pytorch import Trainer
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from crossmodal import EmotionRecognizer
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import ConfigError
from crossmodal.evaluation.calibration import calibrate
from crossmodal.evaluation.predictions import Predictions
from crossmodal.pipeline.stage import START
from crossmodal.storage import read_json
from tests.pipeline import fit, read_rows, reused
from tests.pipeline.conftest import CONTROL_EPOCHS, EPOCHS
from tests.pipeline.stops import assert_same_results, at_each_batch, stop_at

ORDER = ["teacher", "supervised", "control", "transfer", "finetune"]
STARTS = {"control": "supervised", "finetune": "transfer"}  # stages that start from the weights of another
# Fold K of loso24: actor K + 1 is the test actor, the next one the validation actor.
TRAIN, VAL, TEST = ["03", "04"], ["02"], ["01"]


class TestOutputs:
    def test_the_summary_describes_the_run(self, finished, tiny_face_features, tiny_ravdess):
        summary = finished.summary
        assert read_json(finished.folder / "summary.json") == json.loads(json.dumps(summary))
        assert summary["corpus"] == {
            "kind": "ravdess",
            "name": "RAVDESS",
            "root": str(tiny_ravdess),
            "clips": {"train": 32, "val": 16, "test": 16},
            "actors": {"train": TRAIN, "val": VAL, "test": TEST},
            "sexes": {"male": TEST},
            "labelled_actors": None,
            "unlabelled_actors": 0,
            "unlabelled_clips": 0,
            "faces": str(tiny_face_features),
            "missing_classes": {"train": [], "val": [], "test": []},
            "excluded": 0,
            "notes": [],
        }
        assert [summary[key] for key in ("protocol", "fold", "channel", "seed")] == ["loso24", 0, "speech", 0]
        assert summary["labels"] == ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]
        assert summary["model"] == str(finished.folder / "model")
        assert list(summary["stages"]) == ORDER
        assert not reused(summary)
        assert {stage: numbers["epochs"] for stage, numbers in summary["stages"].items()} == EPOCHS | CONTROL_EPOCHS
        assert all(numbers["seconds"] > 0 for numbers in summary["stages"].values())

    @pytest.mark.parametrize("stage", ORDER)
    def test_metrics_match_the_predictions(self, finished, stage):
        predictions = read_rows(finished.folder / stage / "predictions.csv")
        numbers = finished.summary["stages"][stage]
        for split, actors in (("val", VAL), ("test", TEST)):
            of_split = [row for row in predictions if row["split"] == split]
            true, predicted = ([row[column] for row in of_split] for column in ("label", "predicted"))
            assert len(of_split) == 16
            assert {row["actor"] for row in of_split} == set(actors)
            assert numbers[f"{split}_uar"] == pytest.approx(balanced_accuracy_score(true, predicted))
            assert numbers[f"{split}_war"] == pytest.approx(accuracy_score(true, predicted))

    def test_models_learn_the_tiny_corpus(self, finished):
        # Otherwise the tests below would compare chance with chance.
        assert finished.summary["stages"]["control"]["test_uar"] > 0.3
        assert finished.summary["stages"]["teacher"]["test_uar"] > 0.3

    def test_each_stage_writes_its_configuration_checkpoints_metrics_and_weights(self, finished):
        for stage in ORDER:
            files = {path.name for path in (finished.folder / stage).iterdir()}
            assert {"config.yaml", "checkpoints", "metrics.csv", "predictions.csv", "model.safetensors"} <= files
            assert (finished.folder / stage / "checkpoints" / "best.ckpt").exists()

    @pytest.mark.parametrize(("stage", "folder"), [("finetune", "model"), ("control", "control_model")])
    def test_the_model_folder_predicts_like_the_stage(self, finished, tiny_ravdess, stage, folder):
        assert finished.summary[folder] == str(finished.folder / folder)
        recognizer = EmotionRecognizer.from_pretrained(finished.folder / folder)
        assert recognizer.config["stage"] == stage
        assert recognizer.config["actors_seen"] == VAL + TRAIN
        temperature = recognizer.config["temperature"]
        for row in read_rows(finished.folder / stage / "predictions.csv")[::7]:
            wav = tiny_ravdess / f"Actor_{row['actor']}" / f"03-{row['clip']}.wav"
            prediction = recognizer(wav)
            assert prediction.label == row["predicted"]
            assert sum(prediction.probabilities.values()) == pytest.approx(1)
            powers = {label: float(row[label]) ** (1 / temperature) for label in prediction.probabilities}
            for label, probability in prediction.probabilities.items():
                assert probability == pytest.approx(powers[label] / sum(powers.values()), abs=1e-4)

    def test_the_temperature_is_fitted_on_validation_clips(self, finished):
        config = read_json(finished.folder / "model" / "config.json")
        validation = Predictions.read_csv(finished.folder / "finetune" / "predictions.csv").of("val")
        expected = calibrate(validation)
        assert finished.summary["calibration"] == expected
        assert {"temperature": config["temperature"], **config["calibration"]} == expected
        assert expected["clips"] == 16
        assert expected["temperature"] != 1
        assert expected["nll_after"] < expected["nll_before"]

    def test_the_best_epoch_by_validation_uar_is_kept(self, finished):
        for stage in ORDER:
            curve = [float(row[f"{stage}/val_uar"]) for row in read_rows(finished.folder / stage / "metrics.csv")]
            numbers = finished.summary["stages"][stage]
            start = finished.summary["stages"][STARTS[stage]]["val_uar"] if stage in STARTS else 0.0
            is_better = max(curve) > start + 1e-5  # the curve is rounded
            assert numbers["best_epoch"] == (curve.index(max(curve)) if is_better else START)
            assert numbers["val_uar"] == pytest.approx(max(*curve, start), abs=1e-5)

    def test_validation_and_test_actors_are_not_trained_on(self, finished):
        for stage in ORDER:
            split = {row["actor"] for row in read_rows(finished.folder / stage / "predictions.csv")}
            assert split == {*VAL, *TEST}
        (path,) = (finished.cache / "teacher_outputs").iterdir()
        outputs = ClipTensors(path)
        assert outputs.about["train_actors"] == TRAIN
        assert len(outputs.clips) == 64
        assert outputs.shapes == {"teacher_embedding": (128,), "teacher_logits": (8,)}


class TestReuse:
    def test_the_same_command_trains_nothing(self, finished, store, tiny_args, monkeypatch, capsys):
        monkeypatch.setattr(Trainer, "fit", lambda *args, **kwargs: pytest.fail("an epoch was trained"))
        summary = fit(tiny_args(store))
        output = capsys.readouterr().out
        assert all(f"{stage}: reused" in output for stage in ORDER)
        assert reused(summary) == ORDER
        moved = json.dumps(finished.summary).replace(str(finished.folder), str(store / "runs" / "fit"))
        assert json.loads(json.dumps(summary)) == json.loads(moved.replace('"reused": false', '"reused": true'))

    @pytest.mark.parametrize(
        "change, kept",
        [
            (["--transfer.model.kd_loss_weight=0.9"], ["teacher", "supervised", "control"]),
            # The control has the settings of finetune.
            (["--finetune.model.lr=1e-4"], ["teacher", "supervised", "transfer"]),
            (["--finetune.trainer.max_epochs=1"], ["teacher", "supervised", "transfer"]),
            (["--transfer.trainer.max_epochs=1"], ["teacher"]),
            (["--teacher.model.hidden_size=32"], ["supervised", "control"]),
            (["--transfer.model.dropout=0.1"], ["teacher"]),
            (["--data.fold=1"], []),
            (["--name=another", "--trainer.enable_model_summary=false"], ORDER),
        ],
        ids=lambda value: " ".join(value),
    )
    def test_a_change_retrains_only_the_stages_that_depend_on_it(self, store, tiny_args, change, kept):
        assert reused(fit(tiny_args(store, *change))) == kept


class TestResume:
    def test_a_failed_run_gives_the_same_results(self, finished, decoded, tiny_args):
        args = tiny_args(decoded)
        stops = [
            (KeyboardInterrupt(), "supervised", 2, 2),  # within an epoch
            (KeyboardInterrupt(), "control", 1, 2),
            (RuntimeError("no memory left"), "transfer", 1, 3),
            (RuntimeError("no memory left"), "finetune", 1, 1),
        ]
        for error, *where in stops:
            with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(type(error)):
                stop_at(monkeypatch, error, *where)
                fit(args)
        summary = fit(args)
        assert reused(summary) == ["teacher", "supervised", "control", "transfer"]
        assert_same_results(decoded / "runs" / "fit", finished.folder)
        for stage, numbers in finished.summary["stages"].items():
            assert summary["stages"][stage]["epochs"] == numbers["epochs"]
        assert summary["gain"] == finished.summary["gain"]

    def test_a_changed_setting_restarts_the_stage(self, decoded, tiny_args, monkeypatch):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            stop_at(patch, KeyboardInterrupt(), "teacher", 2, 0)
            fit(tiny_args(decoded, "--stages=teacher"))
        trained = []
        at_each_batch(monkeypatch, lambda *here: trained.append(here))
        fit(tiny_args(decoded, "--stages=teacher", "--teacher.model.hidden_size=8"))
        assert trained[0] == ("teacher", 0, 0)
        assert len(read_rows(decoded / "runs" / "fit-2" / "teacher" / "metrics.csv")) == 3


class TestStages:
    def test_the_teacher_alone(self, decoded, tiny_args):
        summary = fit(tiny_args(decoded, "--stages=teacher"))
        assert list(summary["stages"]) == ["teacher"]
        assert "gain" not in summary
        assert "model" not in summary
        assert not (decoded / "runs" / "fit" / "model").exists()
        assert "| teacher |" in (decoded / "runs" / "fit" / "report.md").read_text()

    @pytest.mark.parametrize(
        "stages, message",
        [
            ("finetune", "--stages teacher,finetune"),
            ("transfer", "--stages teacher,transfer"),
            ("techer", r"'techer'.*teacher, supervised, control, transfer"),
        ],
    )
    def test_missing_dependencies_and_unknown_stages_are_refused(self, decoded, tiny_args, stages, message):
        with pytest.raises(ConfigError, match=message):
            fit(tiny_args(decoded, f"--stages={stages}"))

    def test_dependencies_are_loaded_from_the_store(self, store, tiny_args):
        summary = fit(tiny_args(store, "--stages=finetune", "--finetune.model.lr=1e-4"))
        assert reused(summary) == ["teacher", "transfer"]
        assert list(summary["stages"]) == ["teacher", "transfer", "finetune"]
        assert "gain" not in summary
        EmotionRecognizer.from_pretrained(summary["model"])

    def test_stages_run_in_their_fixed_order(self, store, tiny_args):
        summary = fit(tiny_args(store, "--stages=control, teacher"))
        assert list(summary["stages"]) == ["teacher", "supervised", "control"]


class TestBadInput:
    def test_damaged_and_foreign_files_are_listed_and_excluded(self, tiny_args, tiny_ravdess, tmp_path, capsys):
        root = tmp_path / "corpus"
        shutil.copytree(tiny_ravdess, root)
        cut = root / "Actor_03" / "03-01-05-01-01-01-03.wav"
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
        (root / "Actor_03" / "my voice.wav").write_bytes(cut.read_bytes())
        faceless = root / "Actor_04" / "03-01-05-01-01-02-04.wav"  # a repetition without face features
        shutil.copy(root / "Actor_04" / "03-01-05-01-01-01-04.wav", faceless)
        summary = fit(tiny_args(tmp_path, "--stages=teacher", root=root))
        listed = {one["what"]: one["reason"] for one in read_json(tmp_path / "runs" / "fit" / "excluded.json")}
        assert listed.keys() == {str(cut), str(root / "Actor_03" / "my voice.wav"), "01-05-01-01-02-04"}
        assert "truncated" in listed[str(cut)]
        assert "not a RAVDESS name" in listed[str(root / "Actor_03" / "my voice.wav")]
        assert "not paired" in listed["01-05-01-01-02-04"]
        assert summary["corpus"]["excluded"] == 3
        assert summary["corpus"]["clips"] == {"train": 31, "val": 16, "test": 16}
        output = capsys.readouterr().out
        assert "3 file(s)" in output
        assert str(cut) in output

    def test_pixels_without_a_backbone_are_refused(self, tiny_videos, tmp_path):
        args = [f"--data.root={tiny_videos}", "--data.protocol=loso24", f"--runs={tmp_path}"]
        with pytest.raises(ConfigError, match=r"--data\.face_features"):
            fit([*args, "--teacher.model.backbone=null", f"--data.cache={tmp_path / 'cache'}"])
