"""Runs in which only some training actors have labels."""

import json

import pytest

from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.splits.labelled_actors import draw_actors
from crossmodal.errors import ConfigError
from crossmodal.pipeline.stage import StageRun
from tests.pipeline import fit
from tests.pipeline.known_corpus import known_command, write_corpus, write_manifest

SEED = 3
METHODS = {
    "default": [],
    "face": ["--teaching.by=face"],
    "other losses": ["--transfer.model.kd_loss=dist", "--transfer.model.align_loss=mse"],
    "voice": ["--teaching.by=voice"],
    "both": ["--teaching.by=both"],
    "cross-fitted": ["--teaching.by=both", "--teaching.cross_fit=2"],
}


@pytest.fixture(scope="module")
def rows(folder):
    return write_corpus(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("known")


@pytest.fixture(scope="module")
def manifest(folder, rows):
    return write_manifest(folder / "known.csv", rows)


@pytest.fixture(scope="module")
def training(manifest, folder):
    """The sorted names of the four training actors."""
    return sorted(fit(known_command(manifest, folder, "--stages=teacher", "--name=all"))["corpus"]["actors"]["train"])


@pytest.fixture
def built(monkeypatch):
    """A growing list of the stages that are built, with the teachers beyond the stage ``teacher``."""
    runs, init = [], StageRun.__init__

    def __init__(run, *args, **kwargs):
        init(run, *args, **kwargs)
        run.left_out = set(kwargs.get("left_out", args[5] if len(args) > 5 else ()))
        runs.append(run)

    monkeypatch.setattr(StageRun, "__init__", __init__)
    return runs


def labelled(run):
    """Return the actors whose training clips have labels."""
    return {clip.actor for clip in run.datamodule.split["train"] if clip.label is not None}


def actors(run, *splits):
    return {clip.actor for split in splits for clip in run.datamodule.split[split]}


def test_all_stages_and_teachers_of_all_methods_use_the_labels_of_the_same_actors(manifest, folder, built):
    seeds, drawn, clips = set(), set(), set()
    for number, (name, words) in enumerate(METHODS.items()):
        more = (*words, f"--name=method{number}", "--data.labelled_actors=2", f"--seed_everything={SEED}")
        corpus = fit(known_command(manifest, folder, *more))["corpus"]
        drawn.add(tuple(corpus["labelled_actors"]))
        training = corpus["actors"]["train"]
        assert corpus["labelled_actors"] == sorted(draw_actors(dict.fromkeys(training), 2, SEED))
        for run in built:
            assert labelled(run) == {*corpus["labelled_actors"]} - run.left_out, (name, run.folder)
            assert actors(run, "train") == {*training} - run.left_out
            assert not actors(run, "train") & actors(run, "val", "test")
        seeds |= {run._config["seed_everything"] for run in built}
        students = [run for run in built if run.stage != "teacher" and not run.left_out]
        clips |= {run.datamodule.fingerprint["clips"] for run in students}
        built.clear()
    assert len(seeds) > 1  # the draw of a teacher with another seed would be another one
    assert len(drawn) == len(clips) == 1


def test_another_seed_draws_other_actors(manifest, folder):
    drawn = set()
    for seed in range(4):
        words = ("--stages=teacher", f"--seed_everything={seed}", f"--name=seed{seed}", "--data.labelled_actors=1")
        drawn.add(tuple(fit(known_command(manifest, folder, *words))["corpus"]["labelled_actors"]))
    assert len(drawn) > 1


def results(folder):
    """Return the weights, predictions and keys of all stages and teachers of a run, and the teacher outputs."""
    run = folder / "runs" / "fit"
    found = {str(path.relative_to(run)): path.read_bytes() for path in run.glob("**/model.safetensors")}
    found |= {str(path.relative_to(run)): path.read_bytes() for path in run.glob("**/predictions.csv")}
    found |= {str(path.relative_to(run)): json.loads(path.read_text())["key"] for path in run.glob("**/result.json")}
    return found | {path.name: path.read_bytes() for path in (folder / "cache" / "teacher_outputs").iterdir()}


def test_hidden_labels_reach_no_stage_and_no_teacher(rows, folder, training, tmp_path):
    known, hidden = training[:2], training[2:]
    words = [f"--data.labelled_actors=[{', '.join(known)}]", "--teaching.by=both", "--teaching.cross_fit=2"]

    def changed(speakers):
        other = {"angry": "happy", "happy": "sad", "sad": "angry"}
        return [row | {"label": other[row["label"]]} if row["speaker"] in speakers else row for row in rows]

    found = {}
    for name, speakers in {"plain": [], "other hidden": hidden, "other known": known[:1]}.items():
        path = write_manifest(folder / "labels.csv", changed(speakers))
        fit(known_command(path, tmp_path / name, *words))  # a cache of its own, so that all stages are trained
        found[name] = results(tmp_path / name)
    assert found["plain"] == found["other hidden"]
    ours, theirs = found["plain"], found["other known"]
    for stage in ("teacher", "supervised", "control", "transfer", "finetune"):
        assert ours[f"{stage}/result.json"] != theirs[f"{stage}/result.json"]


def test_cross_fitted_teachers_leave_out_groups_of_labelled_actors(manifest, training, built, tmp_path):
    """A teacher without any labelled actor would learn nothing."""
    pair = training[::2]
    words = (f"--data.labelled_actors=[{', '.join(pair)}]", "--teaching.by=face", "--teaching.cross_fit=2")
    fit(known_command(manifest, tmp_path, *words, "--stages=teacher,transfer"))
    teachers = [run for run in built if run.left_out]
    assert [run.left_out for run in teachers] == [{pair[0]}, {pair[1]}]
    assert [labelled(run) for run in teachers] == [{pair[1]}, {pair[0]}]
    (path,) = (tmp_path / "cache" / "teacher_outputs").iterdir()
    assert ClipTensors(path).about["train_actors"] == training


def test_more_groups_than_labelled_actors_are_refused(manifest, tmp_path):
    words = ("--data.labelled_actors=1", "--teaching.cross_fit=2", "--stages=teacher,transfer")
    with pytest.raises(ConfigError, match="cross_fit"):
        fit(known_command(manifest, tmp_path, *words))
