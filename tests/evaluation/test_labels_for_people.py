"""Reports on a manifest use its name, and speakers instead of actors."""

import re

import pytest

from crossmodal.cli.main import main
from crossmodal.errors import ConfigError
from crossmodal.labels_for_people import format_for, named
from crossmodal.studies.finished import load_runs
from tests.studies.test_compare import change_summaries, write_study

OF_A_MANIFEST = {"protocol": "grouped", "num_folds": 5, "channel": None, "label_set": None}


def of_a_manifest(study, **corpus):
    change_summaries(study, corpus={"kind": "manifest", "name": "cremad"} | corpus, **OF_A_MANIFEST)
    return study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return of_a_manifest(write_study(tmp_path_factory.mktemp("studies") / "mine", methods=["good", "bad"], seeds=(0,)))


def test_a_study_of_a_manifest_reports_speakers(study, capsys):
    assert main(["study", "report", str(study)]) == 0
    screen = capsys.readouterr().out
    files = [(study / name).read_text() for name in ("table.md", "table.tex", "report.html")]
    for text in (screen, *files):
        words = " ".join(re.sub(r'base64,[^"]*|actors\.png', "", text).split())
        assert re.search(
            r"cremad, \d emotions; protocol grouped \(5 folds\), folds 0, 1, seed 0; 4 test speakers", words
        )
        assert "RAVDESS" not in words
        assert "actor" not in words.lower()
    assert "cremad" in (study / "table.csv").read_text()


def test_unlabelled_clips_are_reported(tmp_path, capsys):
    study = of_a_manifest(write_study(tmp_path / "mine", methods=["good"], self_taught=[]), unlabelled_clips=7)
    assert main(["study", "report", str(study)]) == 0
    assert "no label" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"corpus": {"name": "meld"}}, "corpus name is .*cremad.*meld|corpus name is .*meld.*cremad"),
        ({"num_folds": 4}, "num_folds is"),
    ],
)
def test_runs_with_different_corpora_or_folds_are_rejected(tmp_path, change, message):
    study = of_a_manifest(write_study(tmp_path / "mine", methods=["good"], self_taught=[]))
    change_summaries(study, "*fold1*", **change)
    with pytest.raises(ConfigError, match=message):
        load_runs(study)


@pytest.mark.parametrize("text", ["The test actors, an actor, each actor's gain; Actors.", "Factors of an actor"])
def test_format_for_replaces_whole_words(text):
    assert format_for({"kind": "ravdess"}, text) == text
    replaced = format_for({"kind": "manifest"}, text)
    assert replaced == text.replace(" actor", " speaker").replace(" Actors", " Speakers")
    assert replaced.count("Factors") == text.count("Factors")


def test_a_long_list_of_people_is_shortened():
    assert named([f"{number:02d}" for number in range(24)]).endswith("22, 23")
    assert named([f"{number:02d}" for number in range(25)]).endswith("23, and 1 more")
