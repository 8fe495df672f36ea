import json
import re
import shutil

import pytest

from crossmodal.cli.main import main
from crossmodal.errors import ConfigError
from crossmodal.storage import write_json
from crossmodal.studies.compare import compare
from crossmodal.studies.finished import load_runs
from tests.evaluation.test_plots import read
from tests.evaluation.test_report import assert_self_contained
from tests.pipeline import read_rows
from tests.studies.finished_runs import EPOCHS, SUMMARY, write_run

FOLDS = {0: (["01", "02"], ["03", "04"]), 1: (["03", "04"], ["01", "02"])}  # test and validation actors
# Correct clips of ten for each of four labels: one more is 10 points of UAR for an actor.
CONTROL, TEACHER = 5, 8
TEST_GAINS = {"good": {"01": 1, "02": 0, "03": 2, "04": 1}, "bad": {"01": -1, "02": -1, "03": -1, "04": -1}}
TEXTS = ("table.md", "table.tex", "report.html")
SELF_GAINS = {"01": 0, "02": 0, "03": 1, "04": 1}
VAL_GAINS = {"good": 1, "bad": 2}


def hits(method_gains, val_gain, fold, seed):
    """Return the correct clips of each stage; seeds differ by one clip, with the same mean."""
    test, val = FOLDS[fold]
    shift = 2 * seed - 1

    def counts(number, gains, spread=0):
        return {actor: [number + gains.get(actor, 0) + spread] * 4 for actor in (*test, *val)}

    def split(rows, val_rows):
        return {"val": {actor: val_rows[actor] for actor in val}, "test": {actor: rows[actor] for actor in test}}

    control, teacher = counts(CONTROL, {}), counts(TEACHER, {})
    student = split(counts(CONTROL, method_gains, shift), counts(CONTROL + val_gain, {}))
    return {"control": split(control, control), "teacher": split(teacher, teacher), "finetune": student}


def write_study(folder, methods=("good", "bad"), self_taught=("good",), seeds=(0, 1), **options):
    for fold in FOLDS:
        for seed in seeds:
            for method in methods:
                num_correct = hits(TEST_GAINS[method], VAL_GAINS[method], fold, seed)
                write_run(folder, method, fold, seed, num_correct, **options)
            for method in self_taught:
                num_correct = hits(SELF_GAINS, VAL_GAINS[method], fold, seed)
                write_run(folder, method, fold, seed, num_correct, self_taught=True, **options)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("studies") / "known")


@pytest.fixture(scope="module")
def runs(study):
    return load_runs(study)


@pytest.fixture
def numbers(runs):
    return compare(runs)


def by_name(rows):
    return {row["name"]: row for row in rows}


class TestCompare:
    def test_methods_are_sorted_and_the_best_is_selected_on_validation(self, numbers):
        gains = {row["name"]: row["val_gain_pp"] for row in numbers["methods"]}
        assert list(gains) == ["bad", "good"]
        assert gains == pytest.approx({"bad": 20, "good": 10})
        assert numbers["best"] == "bad"

    def test_gains_on_test_match_a_manual_computation(self, numbers):
        good = by_name(numbers["methods"])["good"]
        assert good["runs"] == 4
        assert good["control_uar"] == pytest.approx(0.5)
        assert good["test_uar"] == pytest.approx(0.6)
        assert good["over_control"]["gain_pp"] == pytest.approx((10 + 0 + 20 + 10) / 4)
        assert good["fold_gains_pp"] == {"0": pytest.approx(5), "1": pytest.approx(15)}
        assert good["over_self"]["gain_pp"] == pytest.approx((10 + 0 + 10 + 0) / 4)
        assert good["seconds"] == 1.5 * (EPOCHS["transfer"] + EPOCHS["finetune"])

    def test_p_is_exact_and_corrected_by_holm(self, numbers):
        """With four actors 1 of 16 signs is as extreme; with one actor without a gain, 1 of 8; two-sided."""
        good, bad = (by_name(numbers["methods"])[name] for name in ("good", "bad"))
        assert good["over_control"]["p"] == pytest.approx(2 / 8)
        assert bad["over_control"]["p"] == pytest.approx(2 / 16)
        assert bad["over_control"]["p_holm"] == pytest.approx(2 * 2 / 16)
        assert good["over_control"]["p_holm"] == pytest.approx(2 / 8)
        assert good["over_self"]["p_holm"] == good["over_self"]["p"]  # a single comparison

    def test_references_are_control_teacher_and_late_fusion(self, numbers):
        control, teacher, fusion = numbers["references"]
        assert control["name"] == "voice alone (control)"
        assert (control["val_gain_pp"], control["fold_gains_pp"]) == (None, {})
        assert teacher["name"] == "face alone (teacher)"
        assert teacher["over_control"]["p_holm"] is None  # not a method, so not corrected
        assert {row["seconds"] for row in numbers["references"]} == {None}
        assert fusion["name"] == "late fusion of both"
        assert control["test_uar"] == pytest.approx(0.5)
        assert control["over_control"] is None
        assert teacher["test_uar"] == pytest.approx(0.8)
        assert teacher["over_control"]["gain_pp"] == pytest.approx(30)
        assert fusion["test_uar"] == pytest.approx(0.8)  # the confident teacher decides
        assert {row["runs"] for row in numbers["references"]} == {4}  # per fold and seed, not per method

    def test_the_data_is_described(self, numbers):
        assert numbers["study"] == "known"
        assert numbers["test_actors"] == ["01", "02", "03", "04"]
        assert (numbers["folds"], numbers["seeds"], numbers["protocol"]) == ([0, 1], [0, 1], "seq6")
        assert {name: numbers[name] for name in SUMMARY} == SUMMARY
        assert numbers["num_folds"] is None  # only for the protocol `grouped`
        assert numbers["corpus"] == {"kind": "ravdess", "name": None, "faces": "au.csv", "unlabelled_actors": 0}

    def test_the_order_of_runs_does_not_matter(self, runs, numbers):
        assert compare(runs[::-1]) == numbers

    def test_fewer_than_three_seeds_are_noted(self, numbers):
        (note,) = numbers["notes"]
        assert "2 of at least 3 seeds" in note


class TestMissingRuns:
    def test_a_method_with_fewer_runs_is_not_chosen(self, tmp_path):
        write_study(tmp_path, self_taught=[])
        (tmp_path / "runs" / "bad_fold1_seed1" / "cell.json").unlink()
        numbers = compare(load_runs(tmp_path))
        assert numbers["best"] == "good"
        assert by_name(numbers["methods"])["bad"]["runs"] == 3
        assert any("bad (3 of 4 runs)" in note for note in numbers["notes"])

    def test_self_distillation_is_compared_on_common_runs(self, tmp_path):
        write_study(tmp_path)
        for seed in (0, 1):
            (tmp_path / "runs" / f"good_self_fold0_seed{seed}" / "cell.json").unlink()
        good = by_name(compare(load_runs(tmp_path))["methods"])["good"]
        assert good["over_self"]["gain_pp"] == pytest.approx((10 + 0) / 2)
        assert good["over_control"]["gain_pp"] == pytest.approx(10)

    def test_a_study_without_runs_is_refused(self, tmp_path):
        with pytest.raises(ConfigError, match="crossmodal study run"):
            load_runs(tmp_path)


class TestRefusals:
    @pytest.mark.parametrize(
        ("epochs", "message"),
        [
            ({"control": 11}, r"\[40, 11\]"),
            ({"control": 9}, r"\[40, 9\]"),
            ({"supervised": 10, "control": 40}, r"\[10, 40\]"),  # the same sum
            ({"transfer": 39}, r"\[39, 10\]"),
            ({"finetune": 0}, r"\[40, 0\]"),
            ({"supervised": 0, "transfer": 0}, r"\[0, 10\]"),
        ],
    )
    def test_a_single_run_with_another_budget_is_refused(self, tmp_path, epochs, message):
        write_study(tmp_path)
        write_run(tmp_path, "cheap", 0, 0, hits({}, 0, 0, 0), epochs=EPOCHS | epochs)
        with pytest.raises(ConfigError, match=rf"cheap_fold0_seed0: .* {message}"):
            load_runs(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"protocol": "luna5"}, "protocol is"),
            ({"label_set": "speech6"}, "label_set is"),
            ({"channel": "song"}, "channel is"),
            ({"speaker_dependent": True}, "speaker_dependent is"),
            ({"num_folds": 4}, "num_folds is"),
            ({"corpus": {"kind": "manifest", "name": "RAVDESS"}}, "corpus is"),
            ({"corpus": {"name": "mine"}}, "corpus name is"),
        ],
    )
    def test_runs_of_another_study_are_refused(self, tmp_path, change, message):
        change_summaries(write_study(tmp_path), "*fold1*", **change)
        with pytest.raises(ConfigError, match=message):
            load_runs(tmp_path)


def change_summaries(study, runs="*", corpus=None, **change):
    for path in study.glob(f"runs/{runs}/summary.json"):
        summary = json.loads(path.read_text())
        write_json(path, summary | change | {"corpus": summary["corpus"] | (corpus or {})})


class TestOtherCorpora:
    def test_reports_on_a_manifest_name_speakers(self, tmp_path, capsys):
        write_study(tmp_path, seeds=(0,))
        change = {"protocol": "grouped", "num_folds": 5, "channel": None, "label_set": None}
        change_summaries(tmp_path, corpus={"kind": "manifest", "name": "cremad"}, **change)
        numbers = compare(load_runs(tmp_path))
        assert (numbers["protocol"], numbers["num_folds"]) == ("grouped", 5)
        assert numbers["corpus"] == {"kind": "manifest", "name": "cremad", "faces": "au.csv", "unlabelled_actors": 0}
        assert main(["study", "report", str(tmp_path)]) == 0
        for text in (capsys.readouterr().out, *((tmp_path / name).read_text() for name in TEXTS)):
            words = " ".join(re.sub(r'base64,[^"]*|actors\.png', "", text).split())
            expected = "cremad, 4 emotions; protocol grouped (5 folds), folds 0, 1, seed 0; 4 test speakers"
            assert expected in words
            assert "RAVDESS" not in words
            assert "actor" not in words.lower()
        assert "cremad" in (tmp_path / "table.csv").read_text()

    def test_unlabelled_clips_are_noted_unless_the_study_hides_labels(self, tmp_path):
        write_study(tmp_path, methods=["good"], self_taught=[], seeds=(0, 1, 2))
        change_summaries(tmp_path, corpus={"unlabelled_clips": 9})
        (note,) = compare(load_runs(tmp_path))["notes"]
        assert "no label" in note
        change_summaries(tmp_path, corpus={"unlabelled_actors": 4})
        numbers = compare(load_runs(tmp_path))
        assert numbers["notes"] == []  # three seeds are enough
        assert numbers["methods"][0]["over_self"] is None
        assert numbers["corpus"]["unlabelled_actors"] == 4

    def test_different_numbers_of_unlabelled_actors_are_noted(self, tmp_path):
        write_study(tmp_path, self_taught=[], seeds=(0,))
        change_summaries(tmp_path, "bad_*", {"unlabelled_actors": 4})
        numbers = compare(load_runs(tmp_path))
        assert any("unlabelled" in note for note in numbers["notes"])
        assert numbers["corpus"]["unlabelled_actors"] == 0


def test_intervals_over_one_test_actor_are_impossible(tmp_path, capsys):
    for seed in (0, 1):
        rows = {"val": {"02": [5] * 4, "03": [6] * 4}, "test": {"01": [5] * 4}}
        student = rows | {"test": {"01": [7] * 4}}
        for self_taught in (False, True):
            write_run(tmp_path, "one", 0, seed, {"control": rows, "finetune": student}, self_taught=self_taught)
    assert main(["study", "report", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "On test: +20.0 (interval impossible" in " ".join(output.split())
    for name in TEXTS:
        assert "interval impossible" in (tmp_path / name).read_text()
    (row, *_) = read_rows(tmp_path / "table.csv")
    assert float(row["gain_pp"]) == pytest.approx(20)
    assert (row["low_pp"], row["high_pp"]) == ("", "")
    assert main(["study", "report", str(tmp_path), "--format", "json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["methods"][0]["over_control"]["ci95_pp"] is None
    assert "nan" not in output + (tmp_path / "table.md").read_text().lower()


@pytest.mark.parametrize("same", ["teacher", "control", "neither"])
def test_different_teachers_or_controls_are_noted(tmp_path, same):
    write_study(tmp_path, methods=["good"], self_taught=[])
    write_study(tmp_path, methods=["bad"], self_taught=[], key="another student")
    for path in tmp_path.glob(f"runs/good_*/{same}/result.json"):
        shutil.copy(path, str(path).replace("good_", "bad_"))
    numbers = compare(load_runs(tmp_path))
    assert {row["runs"] for row in numbers["references"]} == {8}
    assert any("different teachers or controls" in note for note in numbers["notes"])


class TestReport:
    def report(self, folder, capsys, *args):
        assert main(["study", "report", str(folder), *args]) == 0
        return capsys.readouterr().out

    def test_the_output_has_table_best_method_and_files(self, study, capsys):
        output = self.report(study, capsys)
        rows = {line.split()[0]: line for line in output.splitlines() if line.strip()}
        assert re.search(r"good +4 +\+10\.0 +0\.600 +\+10\.0 \(.*\) +0\.250 +\+5\.0 \(.*\) +0\.500 +75", rows["good"])
        positions = [output.index(name) for name in (" bad ", " good ", "voice alone", "late fusion")]
        assert positions == sorted(positions)
        assert "Best on validation: bad, +20.0 points" in output
        assert "-10.0 (-10.0 to -10.0)" in output
        assert "protocol seq6, folds 0, 1, seeds 0, 1; 4 test actors (01 to 04)" in output
        assert "report.html, table.md, table.csv, table.tex and plots" in output

    def test_json_has_the_numbers(self, study, numbers, capsys):
        assert json.loads(self.report(study, capsys, "--format", "json")) == json.loads(json.dumps(numbers))

    def test_the_files_have_the_same_numbers(self, study, capsys):
        self.report(study, capsys)
        text = (study / "table.md").read_text()
        (line,) = (line for line in text.splitlines() if line.startswith("| good |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:5] == ["good", "4", "+10.0", "0.600", "0.500"]
        assert cells[6:9] == ["+5.0 to +15.0", "0.250", "0.250"]
        rows = by_name(read_rows(study / "table.csv"))
        assert float(rows["good"]["gain_pp"]) == pytest.approx(10)
        assert float(rows["good"]["over_self_gain_pp"]) == pytest.approx(5)
        assert rows["bad"]["over_self_gain_pp"] == ""
        expected = {"protocol": "seq6", "test_actors": "01 02 03 04", "folds": "0 1", "seeds": "0 1"}
        assert all(row.items() >= expected.items() for row in rows.values())
        tex = (study / "table.tex").read_text()
        assert r"good & 4 & $+$10.0 & 0.600 & $+$10.0 (" in tex
        assert r"95 \%" in tex
        assert "protocol seq6" in tex
        read(study / "gains.png")

    def test_the_page_is_self_contained_and_complete(self, study, capsys):
        self.report(study, capsys)
        reader = assert_self_contained((study / "report.html").read_text(encoding="utf-8"))
        assert reader.tags.count("img") == 4  # gains, bars, actors and confusion
        for name in ("good", "bad", "voice alone (control)", "face alone (teacher)", "late fusion of both"):
            assert name in reader.text
        assert "Best on validation: bad" in reader.text
        assert "protocol seq6, folds 0, 1, seeds 0, 1; 4 test actors (01 to 04)" in reader.text

    @pytest.mark.parametrize(
        ("change", "warning"),
        [
            ({"corpus": {"kind": "synthetic"}}, "Synthetic corpus: "),
            ({"corpus": {"unlabelled_actors": 4}}, "4 training actors"),
            ({"speaker_dependent": True}, "Speaker-dependent: "),
        ],
    )
    def test_every_table_has_the_warnings(self, tmp_path, capsys, change, warning):
        study = write_study(tmp_path / "known", methods=["good"], self_taught=[])
        change_summaries(study, **change)
        assert warning in self.report(study, capsys)
        for name in ("table.md", "table.csv", "table.tex", "report.html"):
            assert warning in (study / name).read_text()
        assert "over self" not in (study / "table.md").read_text()
