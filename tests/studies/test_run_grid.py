import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from crossmodal.cli.main import main
from crossmodal.pipeline.stage import code_version
from crossmodal.storage import read_json
from crossmodal.studies import run_grid
from crossmodal.studies.pool import startable

METHODS = {
    "mse": {"transfer": {"model": {"kd_loss": None}}},
    "kd": {"transfer": {"model": {"kd_loss": "kd", "align_loss": None}}},
    "broken": {"transfer": {"trainer": {"max_epochs": 0}}},
}


@pytest.fixture(scope="module")
def words(tiny_ravdess, tiny_face_features, tmp_path_factory):
    """What every run of these tests is told."""
    return [
        f"--data.root={tiny_ravdess}",
        f"--data.face_features={tiny_face_features}",
        f"--data.cache={tmp_path_factory.mktemp('cache')}",
        "--data.protocol=loso24",
        "--transfer.model.encoder=dense",
        "--transfer.model.encoder_kwargs.hidden_size=16",
        "--teacher.trainer.max_epochs=2",
        "--finetune.trainer.max_epochs=1",
    ]


def write_study(folder: Path, **content) -> str:
    path = folder / "tiny.yaml"
    trained = {"transfer": {"trainer": {"max_epochs": 1}}}
    (folder / "short.yaml").write_text(yaml.safe_dump(trained))
    content = {"configs": ["short.yaml"], "folds": [0], "seeds": [0], "methods": METHODS} | content
    content = {key: value for key, value in content.items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def run_here(monkeypatch):
    """Run jobs in this process, in sequence; returns the list of their names, which grows."""
    ran = []

    def run_jobs(function, jobs, processes, made):
        waiting, made = list(jobs), set(made)
        while waiting:
            job = startable(waiting, [], made, 1)[0]
            waiting.remove(job)
            ran.append(job.name)
            yield job, function(job.argument)

    monkeypatch.setattr(run_grid, "run_jobs", run_jobs)
    return ran


@pytest.fixture
def here(monkeypatch):
    """Run jobs in this process, in sequence; holds the names of those that were run."""
    return run_here(monkeypatch)


@dataclass(frozen=True)
class Ran:
    """A study that was run: its file, its folder, its exit status, the names of its runs and its output."""

    file: str
    out: Path
    status: int
    names: list[str]
    stdout: str
    stderr: str


def run_study(file, out, *args):
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        names = run_here(patch)
        status = main(["study", "run", file, "--out", str(out), *args])
    return Ran(file, out, status, names, stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="module")
def of_methods(words, tmp_path_factory):
    """The words with another cache, which holds no stage of other studies."""
    return [*words, f"--data.cache={tmp_path_factory.mktemp('cache')}"]


@pytest.fixture(scope="module")
def study(of_methods, tmp_path_factory):
    """Three methods, of which one fails; to be read, not to be changed."""
    folder = tmp_path_factory.mktemp("study")
    return run_study(write_study(folder), folder / "out", *of_methods)


@pytest.fixture
def command(study, of_methods, tmp_path):
    """The command that runs a copy of the study again."""
    out = shutil.copytree(study.out, tmp_path / "out")
    return ["study", "run", study.file, "--out", str(out), *of_methods]


class TestAStudyOfThreeMethods:
    def test_runs_that_fail_are_listed_and_the_others_are_there(self, study):
        assert study.status == 1
        assert study.names == ["mse_fold0_seed0", "kd_fold0_seed0", "broken_fold0_seed0"]
        assert "failed: broken_fold0_seed0: transfer ended before its first epoch did" in study.stderr
        assert str(study.out / "runs" / "broken_fold0_seed0" / "log.txt") in study.stderr
        assert "2 of 3 runs are there; the same command tries the others again." in study.stdout
        assert f"study report {study.out}" in study.stdout
        assert "[3/3" in study.stderr  # no bar where there is no terminal

    def test_a_run_leaves_what_fit_leaves_but_checkpoints(self, study):
        folder = study.out / "runs" / "mse_fold0_seed0"
        summary = read_json(folder / "summary.json")
        assert summary["name"] == "mse_fold0_seed0"
        assert {stage: numbers["epochs"] for stage, numbers in summary["stages"].items()} == {
            "teacher": 2,
            "control": 2,
            "transfer": 1,
            "finetune": 1,
        }
        assert (folder / "finetune" / "model.safetensors").exists()
        assert not list(folder.rglob("checkpoints"))
        assert "control: 2 epochs" in (folder / "log.txt").read_text()
        about = read_json(folder / "cell.json")
        assert about == {
            "study": "out",
            "method": "mse",
            "self_taught": False,
            "fold": 0,
            "seed": 0,
            "key": about["key"],
            "code": code_version(),
        }

    def test_teacher_and_control_are_trained_once(self, study):
        summary = read_json(study.out / "runs" / "kd_fold0_seed0" / "summary.json")
        reused = {stage for stage, numbers in summary["stages"].items() if numbers["reused"]}
        assert reused == {"teacher", "control"}

    def test_the_next_call_tries_only_what_failed(self, command, here, capsys):
        assert main(command) == 1
        assert here == ["broken_fold0_seed0"]
        assert "2 of 3 runs" in capsys.readouterr().out

    def test_where_all_are_there_nothing_is_run(self, command, here, capsys, monkeypatch):
        monkeypatch.setattr(run_grid, "PairedDataModule", None)  # nor are recordings asked for
        assert main([*command, "--methods", "kd,mse"]) == 0
        assert here == []
        assert "2 of 2 runs are there.\n" in capsys.readouterr().out

    def test_a_run_with_other_settings_is_repeated_and_does_not_count_until_it_ends(self, command, here):
        run = Path(command[4]) / "runs" / "kd_fold0_seed0"
        assert main([*command, "--methods=kd", "--transfer.trainer.max_epochs=0"]) == 1
        assert here == ["kd_fold0_seed0"]
        assert not (run / "cell.json").exists()
        assert main([*command, "--methods=kd"]) == 0
        assert here == ["kd_fold0_seed0"] * 2
        assert read_json(run / "summary.json")["stages"]["finetune"]["reused"]

    def test_the_report_is_made_of_those_that_are_there(self, command, capsys):
        out = Path(command[4])
        assert main(["study", "report", str(out), "--format", "json"]) == 0
        numbers = json.loads(capsys.readouterr().out)
        assert sorted(row["name"] for row in numbers["methods"]) == ["kd", "mse"]
        for row in numbers["methods"]:
            summary = read_json(out / "runs" / f"{row['name']}_fold0_seed0" / "summary.json")
            assert row["over_control"]["gain_pp"] == pytest.approx(summary["gain"]["uar_pp"], abs=0.005)
            assert row["test_uar"] == pytest.approx(summary["stages"]["finetune"]["test_uar"])
        assert numbers["test_actors"] == ["01"]


class TestBeforeAnythingRuns:
    @pytest.fixture
    def refused(self, tmp_path, words, here, capsys):
        """Run a study that cannot be, and return what it says."""

        def run(*args: str, **content) -> str:
            assert main(["study", "run", write_study(tmp_path, **content), *words, *args]) == 1
            assert here == []
            return capsys.readouterr().err

        return run

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--folds=0,9"], "Fold 9 of the study: This corpus cannot fill loso24 fold 9"),
            (["--folds=99"], "loso24 has no fold 99: its folds are 0 to 23."),
            (["--methods=mse,brokn"], "'brokn'. Known: mse, kd, broken. Did you mean 'broken'?"),
            (["--data.root=gone"], "gone"),
            (["--transfer.model.kd_loss_wieght=1"], "Did you mean transfer.model.kd_loss_weight"),
            (["--data.fold=1"], "sets data.fold, which a study sets by itself: folds are in the file, or --folds"),
        ],
    )
    def test_what_cannot_be_is_told(self, refused, args, message):
        assert message in refused(*args)

    def test_a_mistyped_method_at_the_end_of_the_file(self, refused):
        methods = {**METHODS, "last": {"transfer": {"model": {"align_loss": "msee"}}}}
        assert "method 'last': " in refused(methods=methods)

    @pytest.mark.parametrize("args", [["--folds", "a"], ["--jobs", "many"]])
    def test_a_line_that_makes_no_sense(self, tmp_path, args, capsys):
        with pytest.raises(SystemExit) as raised:
            main(["study", "run", write_study(tmp_path), *args])
        assert raised.value.code == 2
        assert args[0] in capsys.readouterr().err

    def test_the_file_comes_first(self, capsys):
        with pytest.raises(SystemExit) as raised:
            main(["study", "run", "--data.root", "ravdess", "study.yaml"])
        assert raised.value.code == 2
        assert "FILE comes first" in capsys.readouterr().err


APPLICATIONS = {
    "voice": [{"stages": "control"}],
    "lmfb": [{"stages": "control", "transfer": {"model": {"front_end": "lmfb"}}}],
    "face": [{"stages": "teacher"}],
    "taught": [{"stages": "teacher,control,transfer,finetune"}],
    "broken": [{"stages": "control", "transfer": {"trainer": {"limit_train_batches": 0}}}],
}


@pytest.fixture(scope="module")
def applications(words, tmp_path_factory):
    """Applications under two protocols; to be read, not to be changed."""
    folder = tmp_path_factory.mktemp("applications")
    file = write_study(folder, methods=None, applications=APPLICATIONS, protocols=["loso24", "random"])
    return run_study(file, folder / "out", *of_applications(words))


def of_applications(words):
    return ["--methods=voice,lmfb,face,taught", *(word for word in words if "protocol" not in word)]


class TestAStudyOfApplications:
    @pytest.fixture
    def new(self, applications, words, tmp_path):
        """The command that runs the same study in an empty folder."""
        return ["study", "run", applications.file, "--out", str(tmp_path / "out"), *of_applications(words)]

    @pytest.fixture
    def args(self, applications, new):
        """The command that runs a copy of the study again."""
        shutil.copytree(applications.out, new[4])
        return new

    def test_a_command_is_printed_for_each_run_and_nothing_is_run(self, new, here, capsys):
        assert main([*new, "--print-commands"]) == 0
        lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
        assert here == []
        assert len(lines) == 2 * 4
        assert all(line[:3] == ["python", "-m", "crossmodal"] for line in lines)
        assert lines[0][3:] == [*new, "--only", "voice_loso24_fold0_seed0"]

    def test_what_a_command_runs_is_finished_and_not_printed_again(self, new, here, capsys):
        assert main([*new, "--only", "voice_loso24_fold0_seed0"]) == 0
        assert here == ["voice_loso24_fold0_seed0"]
        assert "1 of 1 runs are there." in capsys.readouterr().out
        main([*new, "--print-commands"])
        printed = capsys.readouterr().out
        assert len(printed.splitlines()) == 7
        assert "voice_loso24" not in printed

    def test_a_run_that_there_is_not(self, new, here, capsys):
        assert main([*new, "--only", "voice_loso24_fold9_seed0"]) == 1
        assert "Did you mean 'voice_loso24_fold0_seed0'" in capsys.readouterr().err
        assert here == []

    def test_each_is_run_with_its_stages(self, applications):
        assert applications.status == 0
        assert len(applications.names) == 8
        runs = applications.out / "runs"
        stages = {path.parent.name: list(read_json(path)["stages"]) for path in runs.glob("*_random_*/summary.json")}
        assert stages == {
            "voice_random_fold0_seed0": ["control"],
            "lmfb_random_fold0_seed0": ["control"],
            "face_random_fold0_seed0": ["teacher"],
            "taught_random_fold0_seed0": ["teacher", "control", "transfer", "finetune"],
        }
        assert all(read_json(path)["speaker_dependent"] for path in runs.glob("*_random_*/summary.json"))
        reused = read_json(runs / "taught_loso24_fold0_seed0" / "summary.json")["stages"]
        assert [stage for stage, numbers in reused.items() if numbers["reused"]] == ["teacher", "control"]

    def test_nothing_is_run_twice(self, args, here, capsys):
        assert main(args) == 0
        assert here == []
        assert "8 of 8 runs are there." in capsys.readouterr().out

    def test_those_that_are_missing_are_run(self, args, here):
        shutil.rmtree(Path(args[4]) / "runs" / "voice_random_fold0_seed0")
        assert main(args) == 0
        assert here == ["voice_random_fold0_seed0"]

    def test_the_report_knows_what_it_is_of_and_is_the_same_after_a_stop(self, args, here, capsys):
        out = Path(args[4])
        report = ["study", "report", str(out), "--format", "json"]
        assert main(report) == 0
        before = json.loads(capsys.readouterr().out)
        assert list(before["protocols"]) == ["loso24", "random"]
        assert [one["name"] for one in before["applications"]] == [
            "face",
            "lmfb",
            "taught",
            "taught (control)",
            "voice",
        ]
        assert before["applications"][-1]["parameters"] > 0
        assert (out / "report.html").exists()
        (out / "runs" / "lmfb_loso24_fold0_seed0" / "cell.json").unlink()  # as where it was killed before its end
        assert main(args) == 0
        assert here == ["lmfb_loso24_fold0_seed0"]
        capsys.readouterr()
        assert main(report) == 0
        assert json.loads(capsys.readouterr().out) == before

    def test_voices_alone_need_no_faces(self, args, here):
        args = [word for word in args if "face_features" not in word]  # the corpus has no video either
        assert main([*args, "--only", "voice_loso24_fold0_seed0"]) == 0
        assert here == ["voice_loso24_fold0_seed0"]  # another setting, another run
        assert main([*args, "--only", "face_loso24_fold0_seed0"]) == 1


@pytest.mark.slow
def test_two_processes_and_a_second_control(tmp_path, words):
    file = write_study(tmp_path, methods={"mse": METHODS["mse"]}, folds=[0, 1], self_distillation=True)
    args = [sys.executable, "-m", "crossmodal", "study", "run", file, "--jobs", "2", *words]
    done = subprocess.run(args, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 runs are there." in done.stdout
    numbers = subprocess.run(
        [*args[:4], "report", "studies/tiny", "--format=json"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    (row,) = json.loads(numbers.stdout)["methods"]
    assert row["runs"] == 2
    assert row["over_self"] is not None
    trained = [
        read_json(path)["stages"]["control"]["reused"] for path in tmp_path.glob("studies/tiny/runs/*/summary.json")
    ]
    assert sorted(trained) == [False, False, True, True]
