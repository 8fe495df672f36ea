import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from crossmodal.evaluation.gain import MARGIN
from crossmodal.evaluation.metrics import describe
from crossmodal.evaluation.predictions import Predictions
from crossmodal.pipeline.stage_result import StageResult
from crossmodal.pipeline.summary import RunSummary, summarize

LABELS = ("calm", "sad")
SETTINGS = {"name": "tiny", "seed_everything": 3}
CLIPS = {"train": ["03", "03", "04"], "val": ["02"] * 4, "test": ["01"] * 4 + ["05"] * 4}


def corpus(protocol="seq6", **kwargs):
    settings = {
        "protocol": protocol,
        "fold": 1,
        "labels": LABELS,
        "num_folds": 5,
        "is_speaker_dependent": protocol == "random",
        "source": SimpleNamespace(
            kind="ravdess", name="RAVDESS", path="ravdess", channel="speech", label_set="speech8"
        ),
        "face_features": None,
        "face_embeddings": None,
        "excluded": ["one"],
        "labelled_actors": None,
        "split": {
            name: [SimpleNamespace(actor=one, label="sad", sex=None) for one in actors]
            for name, actors in CLIPS.items()
        },
    }
    return SimpleNamespace(**settings | kwargs)


def result(folder, stage, wrong):
    """Return a stage that misclassifies `wrong[actor]` of the four clips of each actor."""
    actors = CLIPS["val"] + CLIPS["test"]
    targets = np.array([0, 0, 1, 1] * 3)
    predicted = targets.copy()
    for actor, number in wrong.items():
        rows = [row for row, name in enumerate(actors) if name == actor][:number]
        predicted[rows] = 1 - predicted[rows]
    names = ([f"clip-{row}" for row in range(12)], actors, ["val"] * 4 + ["test"] * 8)
    predictions = Predictions(LABELS, *names, targets, np.eye(2)[predicted] * 0.8 + 0.1)
    (folder / stage).mkdir()
    predictions.write_csv(folder / stage / "predictions.csv")
    metrics = {split: describe(predictions.of(split)) for split in ("val", "test")}
    return StageResult(stage, folder / stage, "key", metrics, 1.5, 4, 2, False)


def test_the_gain_matches_a_manual_computation(tmp_path):
    # Of the four calm clips the student misses one and the control two. Calm recall is 3/4 against 2/4, sad recall is 1
    # for both: UAR 0.875 against 0.75, a gain of 12.5 points.
    results = {"control": result(tmp_path, "control", {"01": 2}), "finetune": result(tmp_path, "finetune", {"01": 1})}
    summary = summarize(SETTINGS, corpus(), results)
    assert summary.stages["finetune"]["test_uar"] == pytest.approx(0.875)
    assert summary.stages["control"]["test_uar"] == pytest.approx(0.75)
    assert summary.gain == 12.5
    assert summary.interval is None  # two actors


def test_actors_and_results_by_sex(tmp_path):
    """Only test actors are listed; a speaker of unknown sex is not."""
    results = {stage: result(tmp_path, stage, {"01": wrong}) for stage, wrong in (("control", 2), ("finetune", 1))}
    split = corpus().split
    for clip in (one for clips in split.values() for one in clips):
        clip.sex = {"01": "male", "02": "female", "03": "female", "05": None}.get(clip.actor)
    summary = summarize(SETTINGS, corpus(split=split), results)
    assert summary.corpus["sexes"] == {"male": ["01"]}
    control, student = summary.by_sex
    assert (control["model"], control["sex"], control["actors"]) == ("control", "male", ["01"])
    assert student["gain"]["gain_pp"] == pytest.approx(25)  # one of the two calm clips, half of UAR
    assert "by_sex" in summary.to_dict()
    unknown = summarize(SETTINGS, corpus(), results)
    assert unknown.corpus["sexes"] == {}
    assert "by_sex" not in unknown.to_dict()


@pytest.mark.parametrize("stage", ["control", "finetune", "transfer"])
def test_there_is_no_gain_without_a_student_and_its_control(tmp_path, stage):
    results = {"teacher": result(tmp_path, "teacher", {}), stage: result(tmp_path, stage, {})}
    summary = summarize(SETTINGS, corpus(), results)
    assert summary.gain is None
    assert "gain" not in summary.to_dict()


def test_the_summary_marks_synthetic_and_speaker_dependent_runs(tmp_path):
    results = {"teacher": result(tmp_path, "teacher", {})}
    plain = summarize(SETTINGS, corpus(), results)
    synthetic = SimpleNamespace(**vars(corpus().source) | {"kind": "synthetic"})
    marked = summarize(SETTINGS, corpus("random", source=synthetic, face_features="au.csv"), results)
    assert (plain.corpus["kind"], plain.speaker_dependent) == ("ravdess", False)
    assert (marked.corpus["kind"], marked.speaker_dependent) == ("synthetic", True)
    assert (plain.corpus["faces"], marked.corpus["faces"]) == ("pixels", "au.csv")
    assert (plain.corpus["unlabelled_actors"], plain.corpus["excluded"]) == (0, 1)
    assert (plain.seed, plain.fold, plain.labels, plain.name) == (3, 1, ["calm", "sad"], "tiny")


def test_the_summary_names_the_labelled_actors(tmp_path):
    train = [SimpleNamespace(actor=actor, label="sad" if actor == "05" else None) for actor in ("04", "05", "06")]
    given = corpus(labelled_actors=1)
    given.split["train"] = train
    described = summarize(SETTINGS, given, {"teacher": result(tmp_path, "teacher", {})}).corpus
    assert (described["labelled_actors"], described["unlabelled_actors"]) == (["05"], 2)


class TestRecommendation:
    """The student is right on `student` of the four validation clips, the control on `control`."""

    @pytest.mark.parametrize(
        ("student", "control", "expected"), [(4, 2, "student"), (2, 2, "control"), (2, 4, "control")]
    )
    def test_the_better_model_on_validation_is_recommended(self, tmp_path, student, control, expected):
        validation = CLIPS["val"][0]
        results = {
            "finetune": result(tmp_path, "finetune", {validation: 4 - student}),
            "control": result(tmp_path, "control", {validation: 4 - control}),
        }
        summary = summarize(SETTINGS, corpus(), results)
        assert summary.recommended["model"] == expected
        folders = replace(summary, model="model", control_model="control_model")
        assert folders.recommended_model == {"student": "model", "control": "control_model"}[expected]
        assert summary.to_dict()["recommended"] == summary.recommended

    def test_the_test_clips_have_no_part_in_it(self, tmp_path):
        # The student is far better on test and equal on validation.
        results = {
            "control": result(tmp_path, "control", {"01": 4, "05": 4}),
            "finetune": result(tmp_path, "finetune", {}),
        }
        summary = summarize(SETTINGS, corpus(), results)
        assert summary.gain == 100.0
        assert summary.recommended == {"model": "control", "val_gain_pp": 0.0, "margin_pp": MARGIN}


def test_a_summary_is_read_back_from_its_json(tmp_path):
    summary = summarize(SETTINGS, corpus(), {"teacher": result(tmp_path, "teacher", {})})
    content = json.loads(json.dumps(summary.to_dict()))
    assert RunSummary.from_dict(content).to_dict() == content
    del content["num_folds"]  # as in summaries of older versions
    assert RunSummary.from_dict(content | {"of a newer version": 1}).num_folds is None
