"""A full run on a manifest with some unlabelled clips."""

import csv
import json
import shutil

import pytest

from crossmodal.cli.test import test_command as run_command
from crossmodal.datasets import index_ravdess
from crossmodal.errors import ConfigError, CorpusNotFoundError, LeakageError
from crossmodal.inference.model_folder import load_model_folder
from crossmodal.pipeline.evaluate import evaluate
from tests.pipeline import fit, read_rows, tiny_command

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
def args(tiny_face_features, folder):
    """Arguments of all command lines of this file."""
    corpus = ("--data.allow_outside_paths=true", "--data.num_folds=3", f"--data.face_features={tiny_face_features}")
    args = tiny_command(folder, "--data.batch_size=4", "--teacher.trainer.max_epochs=2", *corpus)
    return [word for word in args if "protocol" not in word]


@pytest.fixture(scope="module")
def manifest(rows, folder):
    """A manifest with one unlabelled clip per speaker, so that every split has one, and one missing clip."""
    gone = rows[0] | {"clip": "gone", "audio": "gone.wav"}
    shown = [row | {"label": ""} if row["clip"] in hidden(rows) else row for row in [*rows, gone]]
    return write(folder / "street.csv", shown)


def hidden(rows):
    return {row["clip"] for row in rows if row["label"] == "sad" and row["clip"].split("-")[3] == "02"}


@pytest.fixture(scope="module")
def summary(manifest, args):
    return fit([f"--data.manifest={manifest}", "--name=whole", *args])


@pytest.fixture(scope="module")
def run(summary, folder):
    return folder / "runs" / "whole"


class TestFit:
    def test_the_summary_describes_the_corpus(self, summary, manifest):
        corpus = summary["corpus"]
        assert (corpus["kind"], corpus["name"], corpus["root"]) == ("manifest", "street", str(manifest))
        assert sorted(name for names in corpus["actors"].values() for name in names) == [*NAMES.values()]
        assert corpus["unlabelled_clips"] == len(corpus["actors"]["train"])
        assert sum(corpus["clips"].values()) == 32
        assert corpus["excluded"] >= 1
        assert (summary["protocol"], summary["num_folds"], summary["fold"]) == ("grouped", 3, 0)
        assert summary["channel"] is summary["label_set"] is None
        assert summary["labels"] == ["neutral", "happy", "sad", "angry"]
        assert summary["speaker_dependent"] is False
        assert {"gain", "model"} <= summary.keys()

    def test_unlabelled_clips_are_not_in_predictions(self, summary, run):
        found = read_rows(run / "finetune" / "predictions.csv")
        held_out = [summary["corpus"]["clips"][split] for split in ("val", "test")]
        people = [len(summary["corpus"]["actors"][split]) for split in ("val", "test")]
        assert len(found) == sum(held_out) - sum(people)  # one of each has no label

    def test_the_report_names_the_corpus_and_counts_unlabelled_clips(self, summary, run):
        text = (run / "report.md").read_text()
        assert "street, 4 emotions; protocol grouped (3 folds), fold 0" in text
        unlabelled = summary["corpus"]["unlabelled_clips"]
        assert f"> **{unlabelled} " in text
        assert "| split | clips | speakers |" in text
        assert "RAVDESS" not in text
        assert "actor" not in text.replace("actors.png", "")

    def test_the_model_card_names_the_corpus(self, run):
        text = (run / "model" / "README.md").read_text()
        assert "street, protocol grouped (3 folds), fold 0" in text
        assert "RAVDESS" not in text
        assert "license: other" in text
        assert "actor" not in text.lower()
        assert str(run.parent.parent) not in text  # local paths must not be published

    def test_the_order_of_rows_does_not_matter(self, summary, manifest, args, folder):
        header, *lines = manifest.read_text().splitlines()
        path = folder / "other" / "street.csv"
        path.parent.mkdir()
        path.write_text("\n".join([header, *reversed(lines)]) + "\n")
        again = fit([f"--data.manifest={path}", "--name=again", "--stages=teacher", *args])
        assert again["stages"]["teacher"]["reused"]


class TestEvaluate:
    def data(self, args, manifest):
        cache = next(word for word in args if "cache" in word).partition("=")[2]
        return {"manifest": str(manifest), "allow_outside_paths": True, "cache": cache}

    @pytest.fixture
    def model(self, summary):
        return load_model_folder(summary["model"])

    def test_it_gives_the_metrics_of_the_run(self, summary, model, args, manifest, capsys):
        data = [f"--data.{key}={value}" for key, value in self.data(args, manifest).items()]
        assert run_command([f"--model={summary['model']}", *data]) == 0
        output = " ".join(capsys.readouterr().out.split())
        people = ", ".join(summary["corpus"]["actors"]["test"])
        assert f"speakers {people} (grouped (3 folds), fold 0)" in output
        assert "0.250" in output
        assert "street: " in output
        assert "actor" not in output
        result = evaluate(model, self.data(args, manifest))
        assert result.uar == pytest.approx(summary["stages"]["finetune"]["test_uar"])
        assert (result.corpus["kind"], result.corpus["name"]) == ("manifest", "street")
        json.dumps(result.to_dict())

    def test_speakers_of_the_training_are_refused(self, model, args, manifest):
        with pytest.raises(LeakageError, match=r"grouped \(3 folds\) fold 0"):
            evaluate(model, self.data(args, manifest) | {"fold": 1})

    def test_other_speakers_with_some_of_the_labels_are_allowed(self, model, args, rows, folder):
        others = [row | {"speaker": f"{row['speaker']} of elsewhere"} for row in rows if row["label"] != "happy"]
        result = evaluate(model, self.data(args, write(folder / "elsewhere.csv", others)))
        assert result.labels == ["neutral", "happy", "sad", "angry"]
        assert [sum(row) > 0 for row in result.confusion] == [True, False, True, True]
        assert result.corpus["name"] == "elsewhere"

    def test_unknown_labels_are_refused(self, model, args, rows, folder):
        others = [row | {"label": "bored"} if row["label"] == "sad" else row for row in rows]
        with pytest.raises(ConfigError, match=r"neutral, happy, sad, angry.*angry, bored, happy"):
            evaluate(model, self.data(args, write(folder / "bored.csv", others)))

    def test_a_missing_manifest_is_refused(self, model):
        with pytest.raises(ConfigError, match=r"street.*--data\.manifest"):
            evaluate(model, {})


class TestVariants:
    def test_an_audio_only_corpus_trains_the_control_and_notes_and_missing_classes_are_reported(
        self, rows, args, folder, capsys
    ):
        voices = [row for row in rows if row["speaker"] != "Ada" or row["label"] != "happy"]
        voices = [row | {"split": {"Ada": "test", "Bo": "val"}.get(row["speaker"], "train")} for row in voices]
        voices[0]["label"] = "Neutral"
        path = write(folder / "voices.csv", voices)
        args = [word for word in args if "face_features" not in word]
        summary = fit([f"--data.manifest={path}", "--name=voices", *args])
        output = " ".join(capsys.readouterr().out.split())
        assert list(summary["stages"]) == ["supervised", "control"]
        assert output.count("--stages control") == 1
        assert f"Model: {summary['control_model']}" in output
        assert summary["corpus"]["missing_classes"] == {"train": [], "val": [], "test": ["happy"]}
        report = (folder / "runs" / "voices" / "report.md").read_text()
        for text in (output, report):
            assert "No test clip has the class happy" in text
        assert "Neutral are read as neutral" in report
        data = {"manifest": str(path), "allow_outside_paths": True, "cache": args[1].partition("=")[2]}
        result = evaluate(load_model_folder(summary["control_model"]), data)
        assert result.corpus["missing_classes"] == {"test": ["happy"]}
        with pytest.raises(CorpusNotFoundError, match="no video"):
            fit([f"--data.manifest={path}", "--name=pairs", "--stages=teacher", *args])

    def test_a_given_split_with_shared_speakers_is_marked(self, rows, args, folder):
        names = ("train", "val", "test")
        path = write(folder / "leak.csv", [row | {"split": names[number % 3]} for number, row in enumerate(rows)])
        args = [f"--data.manifest={path}", "--name=leak", "--stages=control", *args]
        with pytest.raises(LeakageError, match="given split"):
            fit(args)
        summary = fit([*args, "--data.allow_speaker_leakage=true"])
        assert (summary["protocol"], summary["num_folds"], summary["speaker_dependent"]) == ("given", None, True)
        text = (folder / "runs" / "leak" / "report.md").read_text()
        assert "> **Speaker-dependent" in text

    def test_a_moved_corpus_reuses_results(self, rows, args, folder, tmp_path):
        (tmp_path / "wavs").mkdir()
        moved = [row | {"audio": f"wavs/{row['clip']}.wav"} for row in rows]
        for row, target in zip(rows, moved, strict=True):
            shutil.copy(row["audio"], tmp_path / target["audio"])
        args = [word for word in args if "face_features" not in word]
        summary = fit([f"--data.manifest={write(tmp_path / 'voices.csv', moved)}", "--stages=control", *args])
        again = fit([f"--data.manifest={write(folder / 'voices.csv', rows)}", "--stages=control", *args])
        assert again["stages"]["control"]["reused"]
        assert summary["stages"]["control"]["test_uar"] == again["stages"]["control"]["test_uar"]
