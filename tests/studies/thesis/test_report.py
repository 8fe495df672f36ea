import contextlib
import io
import statistics

import pytest

from crossmodal.cli.main import main
from crossmodal.errors import ConfigError
from crossmodal.evaluation.metrics import pool
from crossmodal.storage import read_json, write_json
from crossmodal.studies.finished import load_runs
from crossmodal.studies.thesis.applications import measure
from tests.evaluation.test_report import assert_self_contained
from tests.pipeline import read_rows
from tests.studies.finished_runs import EPOCHS, make_predictions, write_application, write_run

TESTS = {0: ["01", "02", "03"], 1: ["04", "05", "06"]}  # test actors by fold
APPLICATIONS = {
    "01_mfcc": ("speech8", "mfcc", 6),
    "02_lmfb": ("speech8", "lmfb", 5),
    "03_song": ("song6", "mfcc", 8),
    "six": ("speech6", "mfcc", 7),
}


def voices(fold, hits):
    """Return predictions with `hits` correct clips of ten per label, and one more for actor 01."""
    val = make_predictions({"09": [5] * 4}, "val")
    num_correct = {actor: [hits + (actor == "01")] * 4 for actor in TESTS[fold]}
    return pool([val, make_predictions(num_correct, "test")])


def write_study(folder, protocols=("seq6", "random"), seeds=(0, 1), **summary):
    for protocol in protocols:
        more = protocol == "random"
        for fold in TESTS:
            for seed in seeds:
                for name, (label_set, front_end, hits) in APPLICATIONS.items():
                    stages = {"control": voices(fold, hits + more)}
                    args = (name, protocol, fold, seed, stages, label_set, front_end, "dense")
                    write_application(folder, *args, **summary)
                stages = {"teacher": 9, "supervised": 5, "control": 5, "transfer": 5, "finetune": 7}
                stages = {stage: voices(fold, hits) for stage, hits in stages.items()}
                write_application(folder, "11_transfer", protocol, fold, seed, stages, **summary)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("studies") / "known")


@pytest.fixture(scope="module")
def screen(study):
    """Tests of the printed output."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["study", "report", str(study)]) == 0
    return " ".join(printed.getvalue().split())


@pytest.fixture(scope="module")
def numbers(study):
    return measure(load_runs(study))


class TestMeasure:
    def test_each_application_and_the_control_of_transfer(self, numbers):
        names = [one["name"] for one in numbers["applications"]]
        assert names == ["01_mfcc", "02_lmfb", "03_song", "11_transfer", "11_transfer (control)", "six"]
        assert [one["stage"] for one in numbers["applications"]][2:5] == ["control", "finetune", "control"]
        assert numbers["applications"][3]["model"] == "mfcc + lstm, taught"

    def test_metrics_match_a_manual_computation(self, numbers):
        one = numbers["applications"][0]["measured"]["seq6"]
        assert one["runs"] == 4
        assert one["test_actors"] == [*TESTS[0], *TESTS[1]]
        assert one["uar"] == pytest.approx((0.7 + 5 * 0.6) / 6)
        runs = [(0.7 + 0.6 + 0.6) / 3, 0.6] * 2  # two folds, each with two seeds
        for metric in ("uar", "war"):
            assert one[f"{metric}_mean"] == pytest.approx(statistics.mean(runs))
            assert one[f"{metric}_sd"] == pytest.approx(statistics.stdev(runs))
        low, high = one["uar_ci95"]
        assert 0.6 <= low < one["uar"] < high <= 0.65
        assert one["ece"] == pytest.approx(0.7 - one["uar"], abs=1e-5)  # the confidence is always 0.7

    def test_speaker_dependent_protocols_are_last(self, numbers):
        assert list(numbers["protocols"]) == ["seq6", "random"]
        assert [setting["speaker_dependent"] for setting in numbers["protocols"].values()] == [False, True]
        claims = [(claim["question"], claim["protocol"]) for claim in numbers["claims"]]
        assert [protocol for _, protocol in claims] == ["seq6", "random"] * 3
        assert all(claims[index][0] == claims[index + 1][0] for index in range(0, 6, 2))

    def test_notes(self, numbers, tmp_path):
        (note,) = numbers["notes"]
        assert "2 of at least 3 seeds" in note
        write_study(tmp_path, seeds=(0, 1, 2))
        (tmp_path / "runs" / "six_seq6_fold1_seed2" / "cell.json").unlink()
        for path in (tmp_path / "runs").glob("03_song_random_*/cell.json"):
            path.unlink()
        changed = tmp_path / "runs" / "01_mfcc_seq6_fold0_seed0" / "cell.json"
        write_json(changed, read_json(changed) | {"code": "second"})
        versions, unfinished, missing = measure(load_runs(tmp_path))["notes"]
        assert "seq6: six (5 of 6 runs)" in unfinished
        assert "random: 03_song" in missing
        assert "2 versions" in versions

    def test_a_single_run_has_no_standard_deviation(self, tmp_path):
        write_application(tmp_path, "a", "seq6", 0, 0, {"control": voices(0, 5)})
        one = measure(load_runs(tmp_path))["applications"][0]["measured"]["seq6"]
        assert (one["uar_sd"], one["war_sd"]) == (None, None)


class TestReport:
    def test_the_output_has_settings_verdicts_and_warning(self, screen):
        assert "RAVDESS; protocol seq6, folds 0, 1, seeds 0, 1; 6 test actors (01 to 06)." in screen
        assert "RAVDESS; protocol random, speaker-dependent, folds 0, 1" in screen
        assert "Does transfer help? (seq6) Transfer helps: +20.0 (+20.0 to +20.0) points of UAR, p 0.031" in screen
        assert "Is MFCC better than LMFB? (random, speaker-dependent) MFCC is better than LMFB: +10.0" in screen
        assert "random: Speaker-dependent" in screen
        assert "report.html" in screen

    def test_markdown_and_latex(self, study, screen):
        text = (study / "table.md").read_text()
        lines = [line for line in text.splitlines() if line.startswith("| 03_song |")]
        assert len(lines) == 2  # one per protocol
        assert all("| song6 |" in line for line in lines)
        assert "| Does transfer help? | seq6 | +20.0 (+20.0 to +20.0), p 0.031 |" in text
        assert "Compared: 01_mfcc - 02_lmfb." in text
        assert "random: Speaker-dependent" in text
        tex = (study / "table.tex").read_text()
        assert r"01\_mfcc & seq6 & 0.617 (" in tex
        assert "Speaker-dependent" in tex

    def test_csv_has_a_row_per_protocol_with_its_data(self, study, screen):
        rows = {(row["name"], row["protocol"]): row for row in read_rows(study / "table.csv")}
        assert len(rows) == 12
        row = rows["02_lmfb", "random"]
        assert float(row["uar"]) == pytest.approx((0.7 + 5 * 0.6) / 6)
        assert (row["folds"], row["seeds"], row["test_actors"]) == ("0 1", "0 1", "01 02 03 04 05 06")
        assert row["warnings"].startswith("Speaker-dependent")
        assert rows["02_lmfb", "seq6"]["warnings"] == ""

    def test_the_page_is_self_contained_and_complete(self, study, screen):
        text = (study / "report.html").read_text(encoding="utf-8")
        reader = assert_self_contained(text)
        pictures = ("bars", "actors", *(f"confusion_{one}" for one in ("seq6", "random")))
        assert all((study / f"{name}.png").exists() for name in pictures)
        assert reader.tags.count("img") == 2 + 2
        assert reader.tags.count("table") == 1 + 1
        sentences = ("Transfer helps", "protocol seq6", "random: Speaker-dependent", "6 test actors", "11_transfer")
        assert all(sentence in reader.text for sentence in sentences)

    def test_names_are_escaped(self, tmp_path):
        folder = tmp_path / "<b>study & co"
        write_application(folder, "a", "seq6", 0, 0, {"control": voices(0, 5)}, encoder="my.<i>")
        assert main(["study", "report", str(folder)]) == 0
        text = (folder / "report.html").read_text()
        assert "<b>study" not in text
        assert "&lt;b&gt;study &amp; co" in text
        assert "my.&lt;i&gt;" in text
        assert "no runs" in text  # for any claim

    def test_intervals_over_one_test_actor_are_impossible(self, tmp_path, capsys):
        for name, front_end, hits in (("a", "mfcc", 7), ("b", "lmfb", 5)):
            rows = pool([make_predictions({"01": [hits] * 4}, "test"), make_predictions({"09": [5] * 4}, "val")])
            write_application(tmp_path, name, "seq6", 0, 0, {"control": rows}, front_end=front_end)
        assert main(["study", "report", str(tmp_path)]) == 0
        assert "+20.0 (interval impossible" in " ".join(capsys.readouterr().out.split())
        text = (tmp_path / "table.md").read_text()
        assert "| 0.700 (impossible" in text
        assert "nan" not in text.lower()
        rows = {row["name"]: row for row in read_rows(tmp_path / "table.csv")}
        assert (rows["a"]["uar"], rows["a"]["uar_low"], rows["a"]["uar_high"]) == ("0.7", "", "")

    def test_every_file_marks_synthetic_numbers(self, tmp_path, capsys):
        corpus = {"kind": "synthetic", "faces": "pixels", "actors": {"val": ["09"], "test": TESTS[0]}}
        write_application(tmp_path, "a", "random", 0, 0, {"control": voices(0, 5)}, corpus=corpus)
        assert main(["study", "report", str(tmp_path)]) == 0
        assert "Synthetic corpus" in capsys.readouterr().out
        for name in ("table.md", "table.csv", "table.tex", "report.html"):
            text = (tmp_path / name).read_text()
            assert "Synthetic corpus" in text, name
            assert "Speaker-dependent" in text, name


class TestRefusals:
    def test_methods_and_applications_in_one_folder_are_refused(self, tmp_path):
        write_application(tmp_path, "a", "seq6", 0, 0, {"control": voices(0, 5)})
        write_run(tmp_path, "mse", 0, 0, {"control": {"val": {"09": [5] * 4}, "test": {"01": [5] * 4}}})
        with pytest.raises(ConfigError, match=r"applications in .* methods in"):
            load_runs(tmp_path)

    def test_a_control_with_another_budget_is_refused(self, tmp_path):
        stages = {stage: voices(0, 5) for stage in EPOCHS}
        epochs = {stage: {"epochs": number, "seconds": 1} for stage, number in (EPOCHS | {"control": 9}).items()}
        write_application(tmp_path, "a", "seq6", 0, 0, stages, stages=epochs)
        with pytest.raises(ConfigError, match=r"\[40, 9\]"):
            load_runs(tmp_path)
