"""A whole run on a corpus of somebody's own, some of which nobody labelled."""

import csv
import json
import shutil

import pytest

from crossmodal.datasets import index_ravdess
from crossmodal.errors import ConfigError, CorpusNotFoundError, LeakageError
from crossmodal.inference.model_folder import load_model_folder
from crossmodal.pipeline import evaluate as test
from crossmodal.pipeline import fit
from crossmodal.pipeline.evaluate import evaluate
from crossmodal.pipeline.settings import parse_settings

NAMES = {"01": "Ada", "02": "Bo", "03": "Cy", "04": "Di"}


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["clip", "audio", "video", "label", "speaker", "split"], restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def rows(tiny_ravdess):
    return [
        {"clip": clip.clip, "audio": str(clip.audio), "label": clip.label, "speaker": NAMES[clip.actor]}
        for clip in index_ravdess(tiny_ravdess).clips
        if clip.label in ("neutral", "happy", "sad", "angry")
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("manifest")


@pytest.fixture(scope="module")
def words(tiny_face_features, folder):
    """What every command line here has in common."""
    return [
        "--data.allow_outside_paths=true",
        "--data.num_folds=3",
        f"--data.cache={folder / 'cache'}",
        f"--data.face_features={tiny_face_features}",
        f"--runs={folder / 'runs'}",
        "--data.batch_size=4",
        "--transfer.model.encoder=dense",
        "--transfer.model.encoder_kwargs.hidden_size=16",
        "--teacher.trainer.max_epochs=2",
        "--transfer.trainer.max_epochs=1",
        "--finetune.trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false",
    ]


@pytest.fixture(scope="module")
def manifest(rows, folder):
    """Of every speaker one clip has no label, so that whoever trains, some pairs have none; one clip is not there."""
    gone = rows[0] | {"clip": "gone", "audio": "gone.wav"}
    shown = [row | {"label": ""} if row["clip"] in hidden(rows) else row for row in [*rows, gone]]
    return write(folder / "street.csv", shown)


def hidden(rows):
    return {row["clip"] for row in rows if row["label"] == "sad" and row["clip"].split("-")[3] == "02"}


@pytest.fixture(scope="module")
def summary(manifest, words):
    return fit([f"--data.manifest={manifest}", "--name=whole", *words])


@pytest.fixture(scope="module")
def run(summary, folder):
    return folder / "runs" / "whole"


class TestTheRun:
    def test_the_summary_says_what_was_run_on_what(self, summary, manifest):
        corpus = summary["corpus"]
        assert (corpus["kind"], corpus["name"], corpus["root"]) == ("manifest", "street", str(manifest))
        assert sorted(name for names in corpus["actors"].values() for name in names) == [*NAMES.values()]
        assert corpus["unlabelled_clips"] == len(corpus["actors"]["train"])
        assert sum(corpus["clips"].values()) == 32
        assert corpus["set_aside"] >= 1
        assert [summary[key] for key in ("protocol", "num_folds", "fold", "channel", "label_set")] == [
            "grouped", 3, 0, None, None,
        ]  # fmt: skip
        assert summary["labels"] == ["neutral", "happy", "sad", "angry"]
        assert summary["speaker_dependent"] is False
        assert {"gain", "model"} <= summary.keys()

    def test_unlabelled_clips_are_in_no_prediction(self, summary, run):
        with (run / "finetune" / "predictions.csv").open(newline="") as file:
            found = list(csv.DictReader(file))
        held_out = [summary["corpus"]["clips"][split] for split in ("val", "test")]
        people = [len(summary["corpus"]["actors"][split]) for split in ("val", "test")]
        assert len(found) == sum(held_out) - sum(people)  # one of each has no label

    def test_the_report_is_of_speakers_of_this_corpus_and_says_what_has_no_label(self, summary, run):
        text = (run / "report.md").read_text()
        assert "street, 4 emotions; protocol grouped (3 folds), fold 0, seed 0; chance is 0.250" in text
        unlabelled = summary["corpus"]["unlabelled_clips"]
        assert f"> **{unlabelled} of the training clips have no label: they teach, and are in no task loss.**" in text
        assert "| split | clips | speakers |" in text
        assert "RAVDESS" not in text
        assert "actor" not in text.replace("actors.png", "")

    def test_the_card_is_of_speakers_of_this_corpus(self, run):
        text = (run / "model" / "README.md").read_text()
        assert "street, protocol grouped (3 folds), fold 0." in text
        assert "RAVDESS" not in text
        assert "license: other" in text
        assert "actor" not in text.lower()
        assert str(run.parent.parent) not in text  # where the corpus lay is nobody's business

    def test_the_same_command_again_trains_nothing(self, summary, manifest, words):
        again = fit([f"--data.manifest={manifest}", "--name=whole", *words])
        assert all(stage["reused"] for stage in again["stages"].values())

    def test_rows_in_another_order_are_the_same_corpus(self, summary, manifest, words, folder):
        header, *lines = manifest.read_text().splitlines()
        path = folder / "other" / "street.csv"
        path.parent.mkdir()
        path.write_text("\n".join([header, *reversed(lines)]) + "\n")
        again = fit([f"--data.manifest={path}", "--name=again", "--stages=teacher", *words])
        assert again["stages"]["teacher"]["reused"]


class TestTheTest:
    def data(self, words, manifest):
        cache = next(word for word in words if "cache" in word).partition("=")[2]
        return {"manifest": str(manifest), "allow_outside_paths": True, "cache": cache}

    @pytest.fixture
    def model(self, summary):
        return load_model_folder(summary["model"])

    def test_it_gives_the_runs_own_numbers(self, summary, model, words, manifest, capsys):
        args = [
            f"--model={summary['model']}",
            *(f"--data.{key}={value}" for key, value in self.data(words, manifest).items()),
        ]
        assert test.test_command(args) == 0
        said = " ".join(capsys.readouterr().out.split())
        (who,) = {", ".join(summary["corpus"]["actors"]["test"])}
        assert f"clips of speakers {who} (grouped (3 folds), fold 0); chance is 0.250" in said
        assert "street: " in said
        assert "actor" not in said
        result = evaluate(model, self.data(words, manifest))
        assert result["uar"] == pytest.approx(summary["stages"]["finetune"]["test_uar"])
        assert (result["corpus"]["kind"], result["corpus"]["name"]) == ("manifest", "street")
        json.dumps(result)

    def test_speakers_whom_it_knows_are_refused(self, model, words, manifest):
        with pytest.raises(LeakageError, match=r"It was trained for grouped \(3 folds\) fold 0: test it there"):
            evaluate(model, self.data(words, manifest) | {"fold": 1})

    def test_it_can_be_tested_on_other_people_with_some_of_its_labels(self, model, words, rows, folder):
        others = [row | {"speaker": f"{row['speaker']} of elsewhere"} for row in rows if row["label"] != "happy"]
        result = evaluate(model, self.data(words, write(folder / "elsewhere.csv", others)))
        assert result["labels"] == ["neutral", "happy", "sad", "angry"]
        assert [sum(row) > 0 for row in result["confusion"]] == [True, False, True, True]
        assert result["corpus"]["name"] == "elsewhere"

    def test_labels_that_it_does_not_know(self, model, words, rows, folder):
        others = [row | {"label": "bored"} if row["label"] == "sad" else row for row in rows]
        with pytest.raises(
            ConfigError, match="The model knows neutral, happy, sad, angry; bored is angry, bored, happy"
        ):
            evaluate(model, self.data(words, write(folder / "bored.csv", others)))

    def test_without_a_manifest_it_asks_for_one(self, model):
        with pytest.raises(ConfigError, match=r"trained on the corpus street, of a manifest: --data\.manifest FILE"):
            evaluate(model, {})


class TestOtherRuns:
    def test_a_corpus_of_voices_trains_a_voice_alone(self, rows, words, folder):
        path = write(folder / "voices.csv", rows)
        words = [word for word in words if "face_features" not in word]
        summary = fit([f"--data.manifest={path}", "--name=voices", "--stages=control", *words])
        assert list(summary["stages"]) == ["control"]
        with pytest.raises(CorpusNotFoundError, match="no video"):
            fit([f"--data.manifest={path}", "--name=pairs", *words])

    def test_a_given_split_that_shares_speakers_is_marked(self, rows, words, folder):
        names = ("train", "val", "test")
        path = write(folder / "leak.csv", [row | {"split": names[number % 3]} for number, row in enumerate(rows)])
        args = [f"--data.manifest={path}", "--name=leak", "--stages=control", *words]
        with pytest.raises(LeakageError, match="given split"):
            fit(args)
        summary = fit([*args, "--data.allow_speaker_leakage=true"])
        assert (summary["protocol"], summary["num_folds"], summary["speaker_dependent"]) == ("given", None, True)
        text = (folder / "runs" / "leak" / "report.md").read_text()
        assert "> **Speaker-dependent: the same speakers are in training and test.**" in text

    def test_the_synthetic_corpus_and_its_settings_are_for_those_who_give_none(self, manifest):
        settings = parse_settings([f"--data.manifest={manifest}"])
        assert "backbone" not in settings["teacher"].get("model", {})
        assert parse_settings([])["teacher"]["model"]["backbone"] == "test_efficientnet"

    def test_a_moved_corpus_is_the_same_corpus(self, rows, words, folder, tmp_path):
        (tmp_path / "wavs").mkdir()
        moved = [row | {"audio": f"wavs/{row['clip']}.wav"} for row in rows]
        for row, target in zip(rows, moved, strict=True):
            shutil.copy(row["audio"], tmp_path / target["audio"])
        words = [word for word in words if "face_features" not in word]
        summary = fit([f"--data.manifest={write(tmp_path / 'voices.csv', moved)}", "--stages=control", *words])
        again = fit([f"--data.manifest={write(folder / 'voices.csv', rows)}", "--stages=control", *words])
        assert again["stages"]["control"]["reused"]
        assert summary["stages"]["control"]["test_uar"] == again["stages"]["control"]["test_uar"]
