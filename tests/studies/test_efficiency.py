import csv
import json
import shutil

import numpy as np
import pytest

from crossmodal.cli.main import main
from crossmodal.errors import ConfigError
from crossmodal.storage import read_json, write_json
from crossmodal.studies.efficiency import labels_needed, measure_efficiency
from crossmodal.studies.finished import load_runs
from tests.evaluation.test_plots import read
from tests.evaluation.test_report import assert_self_contained
from tests.studies.finished_runs import write_run

FOLDS = {0: (["01", "02"], ["03", "04"]), 1: (["03", "04"], ["01", "02"])}  # test and validation actors
TEACHERS = {"voice": "voice", "face": "face", "face_and_voice": "both"}
# Correct clips of ten for each label, by number of labelled actors: each is 10 points of UAR. All test actors agree.
CONTROL = {2: 2, 4: 4, None: 5}
GAINS = {2: {"voice": 1, "face": 2, "face_and_voice": 3}, 4: {"voice": 0, "face": 1, "face_and_voice": 2}}
GAINS[None] = {"voice": -1, "face": 0, "face_and_voice": 0}
VAL_GAINS = {"voice": 5, "face": 1, "face_and_voice": 2}


def write_cell(folder, student, method, labelled, fold, seed, spread=0, **options):
    """Write a run; the first test actor of a fold has `spread` more correct clips of each label, the other fewer."""
    test, val = FOLDS[fold]

    def split(number, val_number):
        shifts = dict(zip(test, (spread, -spread), strict=True))
        return {
            "test": {actor: [number + shifts[actor]] * 4 for actor in test},
            "val": {actor: [val_number] * 4 for actor in val},
        }

    control = CONTROL[labelled]
    val_gain = VAL_GAINS[method] + (labelled == 2)
    finetune = split(control + GAINS[labelled][method], min(10, control + val_gain))
    hits = {"control": split(control, control), "teacher": split(8, 8), "finetune": finetune}
    axes = {"student": student, "labelled_actors": labelled, "teacher": TEACHERS[method]}
    names = [f"1{seed}"] * labelled if labelled else None
    return write_run(folder, method, fold, seed, hits, axes=axes, **{"labelled_actors": names} | options)


def write_study(folder, students=("dense",), seeds=(0, 1), numbers=(2, 4, None), **options):
    for fold in FOLDS:
        for seed in seeds:
            for student in students:
                for number in numbers:
                    for method in TEACHERS:
                        write_cell(folder, student, method, number, fold, seed, **options)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("studies") / "known", students=("dense", "whisper"))


@pytest.fixture(scope="module")
def numbers(study):
    return measure_efficiency(load_runs(study))


def row_of(numbers, method, labelled, student="dense"):
    (curve,) = (one for one in numbers["students"] if one["student"] == student)
    (row,) = (row for row in curve["rows"] if (row["method"], row["labelled_actors"]) == (method, labelled))
    return row


class TestNumbers:
    def test_students_are_recommended_if_they_are_better_on_validation(self, tmp_path, monkeypatch):
        monkeypatch.setitem(VAL_GAINS, "face", -1)  # with two labelled actors the gain on validation is 0
        numbers = measure_efficiency(load_runs(write_study(tmp_path / "known")))
        face, both = (row_of(numbers, method, 2) for method in ("face", "face_and_voice"))
        assert face["over_control"]["gain_pp"] > 0
        assert face["recommended"]["gain_pp"] == 0
        assert both["recommended"]["gain_pp"] == both["over_control"]["gain_pp"] > 0

    def test_gains_match_a_manual_computation(self, numbers):
        row = row_of(numbers, "face_and_voice", 2)
        assert (row["runs"], row["teacher"]) == (4, "both")
        assert (row["control_uar"], row["uar"]) == (pytest.approx(0.2), pytest.approx(0.5))
        assert row["over_control"]["gain_pp"] == pytest.approx(30)
        assert row["val_gain_pp"] == pytest.approx(30)
        assert row["over_voice"]["gain_pp"] == pytest.approx(20)
        assert row_of(numbers, "face", 4)["over_voice"]["gain_pp"] == pytest.approx(10)
        assert row_of(numbers, "voice", 2)["over_voice"] is None

    def test_holm_counts_methods_and_numbers_of_one_student(self, numbers):
        """With four actors that agree p is 2 of 16. Seven rows have a gain, and two have none."""
        row = row_of(numbers, "face", 2)
        assert row["over_control"]["p"] == pytest.approx(2 / 16)
        assert row["over_control"]["p_holm"] == pytest.approx(min(1, 9 * 2 / 16))
        assert row["over_voice"]["p_holm"] == pytest.approx(6 * 2 / 16)
        assert row_of(numbers, "face", None)["over_control"]["p_holm"] == 1

    def test_the_control_needs_the_interpolated_number_of_labels(self, numbers):
        needed = {method: row_of(numbers, method, 2)["needed"] for method in TEACHERS}
        assert needed["voice"]["actors"] == pytest.approx(3)  # .3 between .2 with 2 and .4 with 4
        assert needed["face"]["actors"] == pytest.approx(4)
        assert needed["face_and_voice"]["actors"] == pytest.approx(8)  # all
        assert needed["voice"]["ci95"] == pytest.approx((3, 3))  # all actors agree
        assert row_of(numbers, "face_and_voice", 4)["needed"] == {
            "most": 8,
            "actors": None,
            "ci95": (None, None),
        }

    def test_the_camera_is_judged_on_validation_below_all_labels(self, numbers):
        for curve in numbers["students"]:  # the voice teacher gains more on validation, but has no camera
            assert (curve["best"]["method"], curve["best"]["labelled_actors"]) == ("face_and_voice", 2)
            assert curve["training_actors"] == 8
            assert [point["labelled_actors"] for point in curve["control"]] == [2, 4, None]
            assert [point["uar"] for point in curve["control"]] == pytest.approx([0.2, 0.4, 0.5])

    def test_the_data_is_described(self, numbers):
        assert (numbers["folds"], numbers["seeds"], numbers["protocol"]) == ([0, 1], [0, 1], "seq6")
        assert numbers["test_actors"] == ["01", "02", "03", "04"]
        (note,) = numbers["notes"]
        assert "2 of at least 3 seeds" in note


class TestLabelsNeeded:
    def test_flat_and_falling_parts_of_a_curve_are_no_gain(self):
        numbers, curve = np.array([1.0, 2.0, 4.0, 6.0]), np.array([0.4, 0.5, 0.3, 0.6])
        targets = np.array([0.1, 0.4, 0.45, 0.5, 0.55, 0.6, 0.61])
        assert labels_needed(numbers, curve, targets).tolist() == pytest.approx([1, 1, 1.5, 2, 5, 6, np.inf])

    def test_each_draw_has_its_own_curve(self):
        curves = np.array([[0.2, 0.4], [0.1, 0.2], [0.5, 0.5]])
        found = labels_needed(np.array([2.0, 4.0]), curves, np.array([0.3, 0.3, 0.3]))
        assert found.tolist() == pytest.approx([3, np.inf, 2])

    def test_the_interval_uses_the_same_actors_for_student_and_control(self, tmp_path):
        """Actors differ, but in each draw student and control differ by the same number of clips."""
        numbers = measure_efficiency(load_runs(write_study(tmp_path, spread=1)))
        row = row_of(numbers, "voice", 2)
        low, high = row["uar_ci95"]
        assert high - low > 0.05
        assert row["needed"]["ci95"] == pytest.approx((3, 3))


class TestUnfinishedStudies:
    def test_only_folds_and_seeds_with_all_runs_are_compared(self, tmp_path):
        write_study(tmp_path)
        shutil.rmtree(tmp_path / "runs" / "face_dense_4_face_fold1_seed1")
        numbers = measure_efficiency(load_runs(tmp_path))
        assert {row["runs"] for row in numbers["students"][0]["rows"]} == {3}
        assert any("dense: 8 runs" in note for note in numbers["notes"])

    def test_a_student_without_common_runs_is_left_out(self, tmp_path):
        write_study(tmp_path, students=("dense",))
        write_cell(tmp_path, "whisper", "face", 2, 0, 0)
        write_cell(tmp_path, "whisper", "face", 4, 1, 0)
        numbers = measure_efficiency(load_runs(tmp_path))
        assert [curve["student"] for curve in numbers["students"]] == ["dense"]
        assert any("whisper: 2 runs" in note for note in numbers["notes"])
        shutil.rmtree(tmp_path / "runs")
        write_cell(tmp_path, "whisper", "face", 2, 0, 0)
        write_cell(tmp_path, "whisper", "face", 4, 1, 0)
        with pytest.raises(ConfigError, match="finished"):
            measure_efficiency(load_runs(tmp_path))

    def test_without_missing_labels_there_is_no_best(self, tmp_path):
        numbers = measure_efficiency(load_runs(write_study(tmp_path, numbers=(None,))))
        assert numbers["students"][0]["best"] is None

    def test_methods_with_other_labelled_actors_are_refused(self, tmp_path):
        write_study(tmp_path)
        path = tmp_path / "runs" / "face_dense_2_face_fold0_seed0" / "summary.json"
        summary = read_json(path)
        write_json(path, summary | {"corpus": summary["corpus"] | {"labelled_actors": ["17", "18"]}})
        with pytest.raises(ConfigError, match="other actors"):
            measure_efficiency(load_runs(tmp_path))

    def test_self_distillation_of_the_method_is_the_voice_teacher(self, tmp_path):
        for fold, (test, val) in FOLDS.items():
            for self_taught, correct in ((False, 7), (True, 6)):
                rows = {"test": dict.fromkeys(test, [correct] * 4), "val": dict.fromkeys(val, [correct] * 4)}
                control = {"test": dict.fromkeys(test, [5] * 4), "val": dict.fromkeys(val, [5] * 4)}
                axes = {"student": "dense", "labelled_actors": 2, "teacher": "voice" if self_taught else "face"}
                hits = {"control": control, "finetune": rows}
                write_run(tmp_path, "kd", fold, 0, hits, self_taught=self_taught, axes=axes)
        numbers = measure_efficiency(load_runs(tmp_path))
        assert row_of(numbers, "kd", 2)["over_voice"]["gain_pp"] == pytest.approx(10)
        assert row_of(numbers, "kd (self)", 2)["over_voice"] is None


class TestReport:
    @pytest.fixture
    def output(self, study, capsys):
        assert main(["study", "report", str(study)]) == 0
        return capsys.readouterr().out

    def test_the_sentence_says_what_the_camera_is_worth(self, study, output):
        for text in (output, (study / "table.md").read_text(), (study / "report.html").read_text()):
            words = " ".join(text.split())
            assert "dense: with 2 of 8 training actors labelled" in words
            assert "+30.0 (+30.0 to +30.0) points of UAR over the control" in words
            assert "+20.0 (+20.0 to +20.0) over a voice teacher" in words
            assert "The control would need 8.0 (8.0 to 8.0) labelled actors" in words

    def test_the_table_has_all_rows(self, study, output):
        lines = [line for line in output.splitlines() if line.startswith((" dense ", " whisper "))]
        assert len(lines) == 2 * 9
        (line,) = (line for line in lines if line.split()[:3] == ["whisper", "4", "face_and_voice"])
        assert line.split()[3:7] == ["0.400", "0.600", "+20.0", "+20.0"]
        assert line.rstrip().endswith(" > 8")
        assert sum("8 (all)" in line for line in lines) == 6

    def test_files_of_other_studies_are_written(self, study, output):
        reader = assert_self_contained((study / "report.html").read_text(encoding="utf-8"))
        assert reader.tags.count("img") == 2
        for student in ("dense", "whisper"):
            read(study / f"curve_{student}.png")
        with (study / "table.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        (row,) = (
            row for row in rows if (row["student"], row["method"], row["labelled_actors"]) == ("dense", "face", "4")
        )
        assert float(row["gain_pp"]) == pytest.approx(10)
        assert float(row["over_voice_gain_pp"]) == pytest.approx(10)
        assert float(row["labels_for_control"]) == pytest.approx(8)
        assert row["protocol"] == "seq6"
        assert r"face\_and\_voice" in (study / "table.tex").read_text()

    def test_json_is_valid(self, study, capsys):
        assert main(["study", "report", str(study), "--format", "json"]) == 0
        numbers = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # no infinity
        assert [curve["student"] for curve in numbers["students"]] == ["dense", "whisper"]
