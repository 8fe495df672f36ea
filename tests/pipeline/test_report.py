import json
from dataclasses import replace
from pathlib import Path

import pytest

from crossmodal.evaluation.gain import measure_gain, recommend
from crossmodal.evaluation.metrics import describe
from crossmodal.pipeline import report
from crossmodal.pipeline.report import print_summary, write_report
from crossmodal.pipeline.summary import RunSummary
from tests.evaluation import LABELS, make_predictions
from tests.evaluation.test_plots import read, write_history

SKILLS = {"teacher": 3.0, "supervised": 0.4, "control": 0.5, "transfer": 0.8, "finetune": 1.2}


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """Replace the fixture of this folder: here the pictures are drawn."""


def make_run(
    folder: Path, kind: str = "ravdess", speaker_dependent: bool = False, stages=tuple(SKILLS), actors: int = 6
) -> RunSummary:
    """Write the files of a run and return its summary."""
    predictions, numbers, gain = {}, {}, {}
    for stage in stages:
        predictions[stage] = make_predictions(clips=120, skill=SKILLS[stage], actors=actors)
        write_history(folder / stage / "metrics.csv", stage, epochs=5)
        predictions[stage].write_csv(folder / stage / "predictions.csv")
        metrics = {split: describe(predictions[stage].of(split)) for split in ("val", "test")}
        numbers[stage] = {f"{split}_{name}": value for split, of in metrics.items() for name, value in of.items()}
        numbers[stage] |= {"seconds": 12.3, "reused": stage == "teacher"}
    if {"finetune", "control"} <= set(stages):
        measured = measure_gain([predictions["finetune"].of("test")], [predictions["control"].of("test")])
        recommended = recommend(predictions["finetune"].of("val"), predictions["control"].of("val"))
        gain = {"gain": measured["gain_pp"], "interval": measured["ci95_pp"], "recommended": recommended}
        gain["control_model"] = str(folder / "control_model")
    corpus = {
        "kind": kind,
        "clips": {"train": 90, "val": 60, "test": 60},
        "actors": {"train": ["07", "08"], "val": ["05", "06"], "test": ["01", "02", "03"]},
        "faces": "face crops",
        "excluded": 2,
    }
    protocol = {"protocol": "seq6", "num_folds": None, "speaker_dependent": speaker_dependent, "fold": 3, "seed": 0}
    labels = {"channel": "speech", "label_set": "speech8", "labels": list(LABELS)}
    results = {"stages": numbers, "model": str(folder / "model"), "folder": folder, **gain}
    return RunSummary(crossmodal="1.0", name="first", corpus=corpus, **protocol, **labels, **results)


def test_content_of_the_report(tmp_path):
    summary = make_run(tmp_path)
    path = write_report(tmp_path, summary)
    assert path == tmp_path / "report.md"
    text = path.read_text()
    for stage, numbers in summary.stages.items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| {stage} |"))
        assert f"| {numbers['val_uar']:.3f} | {numbers['test_uar']:.3f} |" in row
        assert f"| {numbers['test_war']:.3f} |" in row
        assert "{:.3f} to {:.3f}".format(*numbers["test_uar_ci95"]) in row
        assert row.endswith("| 12 (reused) |" if stage == "teacher" else "| 12 |")
    assert f"{summary.gain:+.1f} points of test UAR" in text
    assert "{:+.1f} to {:+.1f} over 3 actors".format(*summary.interval) in text
    assert "RAVDESS, speech, 4 emotions; protocol seq6, fold 3, seed 0; chance is 0.250" in text
    assert "| val | 60 | 05, 06 |" in text
    assert "2 (see excluded.json)" in text
    for name in ("actors", "confusion", "curves"):
        assert f"]({name}.png)" in text
        read(tmp_path / f"{name}.png")


@pytest.mark.parametrize("actors", [1, 2])
def test_an_interval_of_one_or_two_actors_is_impossible(tmp_path, capsys, actors):
    summary = make_run(tmp_path, actors=actors)
    assert summary.interval is None
    content = json.loads(json.dumps(summary.to_dict()))
    assert content["gain"]["ci95_pp"] is None
    assert content["stages"]["control"]["test_uar_ci95"] is None
    assert RunSummary.from_dict(content).to_dict() == content
    text = write_report(tmp_path, summary).read_text()
    print_summary(tmp_path, summary)
    printed = " ".join(capsys.readouterr().out.split())
    for sentence in (text, printed):
        assert f"{summary.gain:+.1f} points of test UAR, 95 % interval impossible" in sentence
        assert "nan" not in sentence
    for stage in summary.stages:
        (row,) = (line for line in text.splitlines() if line.startswith(f"| {stage} |"))
        assert "| impossible" in row


def test_the_printed_summary_has_the_model_and_the_next_command(tmp_path, capsys):
    summary = make_run(tmp_path)
    print_summary(tmp_path, summary)
    printed = capsys.readouterr().out
    assert f"python -m crossmodal predict --model {summary.model} FILE.wav" in printed
    assert str(tmp_path / "report.md") in printed
    assert f"{summary.gain:+.1f} points" in printed
    for stage, numbers in summary.stages.items():
        (row,) = (line.split() for line in printed.splitlines() if line.split()[1:2] == [stage])
        assert {f"{numbers['val_uar']:.3f}", f"{numbers['test_uar']:.3f}", f"{numbers['test_war']:.3f}"} <= set(row)


@pytest.mark.parametrize("kind", ["ravdess", "synthetic"])
@pytest.mark.parametrize("speaker_dependent", [False, True])
def test_report_and_summary_warn_of_synthetic_and_speaker_dependent_results(
    tmp_path, capsys, monkeypatch, kind, speaker_dependent
):
    for name in ("plot_actors", "plot_confusion", "plot_curves"):  # have their own tests
        monkeypatch.setattr(report, name, lambda *args: None)
    summary = make_run(tmp_path, kind, speaker_dependent)
    text = write_report(tmp_path, summary).read_text()
    print_summary(tmp_path, summary)
    printed = capsys.readouterr().out
    for warning, expected in (("Synthetic corpus: ", kind == "synthetic"), ("Speaker-dependent: ", speaker_dependent)):
        assert (f"> **{warning}" in text) == expected
        assert (warning in printed) == expected


def test_a_notebook_shows_the_tables_and_pictures(tmp_path):
    summary = make_run(tmp_path)
    write_report(tmp_path, summary)
    page = summary._repr_html_()
    assert page.count('src="data:image/png;base64,') == 3
    assert f"<td>{summary.stages['finetune']['test_uar']:.3f}</td>" in page
    assert "<html" not in page
    assert replace(summary, folder=None)._repr_html_().startswith("<pre>")


def test_paths_are_those_that_exist(tmp_path):
    summary = make_run(tmp_path)
    write_report(tmp_path, summary)
    (tmp_path / "model").mkdir()
    assert set(summary.paths) == {"folder", "model", "report", "confusion", "curves", "actors"}
    assert summary.paths["report"] == tmp_path / "report.md"


def test_the_file_of_a_summary_gives_the_same_summary(tmp_path):
    summary = make_run(tmp_path)
    content = json.loads(json.dumps(summary.to_dict()))
    assert content["gain"] | {"of": ""} == {"uar_pp": summary.gain, "ci95_pp": list(summary.interval), "of": ""}
    assert {"interval", "folder"}.isdisjoint(content)
    again = RunSummary.from_dict(content, tmp_path)
    assert json.loads(json.dumps(again.to_dict())) == content
    assert (again.gain, again.interval, again.folder) == (summary.gain, summary.interval, tmp_path)


def test_report_of_a_teacher_alone(tmp_path):
    summary = replace(make_run(tmp_path, stages=["teacher"]), model=None)
    text = write_report(tmp_path, summary).read_text()
    for word in ("Gain", "actors.png", "Model folder", "unlabelled"):
        assert word not in text
    assert not (tmp_path / "actors.png").exists()
    summary.corpus["unlabelled_actors"] = 4
    assert "> **4 training actors" in write_report(tmp_path, summary).read_text()
