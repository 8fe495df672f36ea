import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import crossmodal
from crossmodal.cli.main import main
from crossmodal.errors import StudyError
from crossmodal.pipeline.stage_key import code_version
from crossmodal.process_pool import Failure
from crossmodal.storage import read_json
from crossmodal.studies import run_grid
from tests.pipeline import reused, sections_of

METHODS = {
    "mse": {"transfer": {"model": {"kd_loss": None}}},
    "kd": {"transfer": {"model": {"kd_loss": "kd", "align_loss": None}}},
    "broken": {"transfer": {"trainer": {"max_steps": 0}}},
}

UNTAUGHT = ["teacher", "supervised", "control"]  # stages without a teacher


@pytest.fixture(scope="module")
def common_args(tiny_ravdess, tiny_face_features, tmp_path_factory):
    """Arguments of all runs of these tests."""
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
    (folder / "short.yaml").write_text("transfer: {trainer: {max_epochs: 1}}")
    content = {"configs": ["short.yaml"], "folds": [0], "seeds": [0], "methods": METHODS} | content
    content = {key: value for key, value in content.items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def run_here(monkeypatch):
    """Run jobs in this process, in sequence; return the growing list of their names."""
    names = []

    def run_in_order(function, cells, processes):
        for cell in cells:
            names.append(cell.folder.name)
            yield cell, function(cell)

    monkeypatch.setattr(run_grid, "run_in_processes", run_in_order)
    return names


here = pytest.fixture(run_here)


def run_study(file, out, *args):
    """Run a study; return its file, folder, exit status, names of the runs and output."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        names = run_here(patch)
        status = main(["study", "run", file, "--out", str(out), *args])
    output = {"stdout": stdout.getvalue(), "stderr": stderr.getvalue()}
    return SimpleNamespace(file=file, out=out, status=status, names=names, **output)


@pytest.fixture(scope="module")
def method_args(common_args, tmp_path_factory):
    """Return the common arguments with a cache that holds no stage of other studies."""
    return [*common_args, f"--data.cache={tmp_path_factory.mktemp('cache')}"]


@pytest.fixture(scope="module")
def study(method_args, tmp_path_factory):
    """A study of three methods, one of which fails; tests must not change it."""
    folder = tmp_path_factory.mktemp("study")
    return run_study(write_study(folder), folder / "out", *method_args)


@pytest.fixture
def command(study, method_args, tmp_path):
    """The command that reruns a copy of the study."""
    out = shutil.copytree(study.out, tmp_path / "out")
    return ["study", "run", study.file, "--out", str(out), *method_args]


class TestMethods:
    def test_failed_runs_are_listed_and_the_others_finish(self, study):
        assert study.status == 1
        assert study.names == ["mse_fold0_seed0", "kd_fold0_seed0", "broken_fold0_seed0"]
        assert "failed: broken_fold0_seed0: supervised" in study.stderr
        assert str(study.out / "runs" / "broken_fold0_seed0" / "log.txt") in study.stderr
        assert "2 of 3 runs" in study.stdout
        assert f"study report {study.out}" in study.stdout
        assert "[3/3" in study.stderr  # no progress bar without a terminal

    def test_a_run_writes_the_files_of_fit_without_checkpoints(self, study):
        folder = study.out / "runs" / "mse_fold0_seed0"
        summary = read_json(folder / "summary.json")
        assert summary["name"] == "mse_fold0_seed0"
        epochs = {stage: numbers["epochs"] for stage, numbers in summary["stages"].items()}
        assert epochs == {"teacher": 2, "supervised": 1, "control": 1, "transfer": 1, "finetune": 1}
        assert (folder / "finetune" / "model.safetensors").exists()
        assert not list(folder.rglob("checkpoints"))
        assert "control: 1 epochs" in (folder / "log.txt").read_text()
        about = read_json(folder / "cell.json")
        expected = {"study": "out", "method": "mse", "self_taught": False, "teacher": "face", "fold": 0, "seed": 0}
        assert about == expected | {"code": code_version()} | {name: about[name] for name in ("key", "seconds")}
        assert 0 < about["seconds"] < 600

    def test_teacher_and_control_are_trained_once(self, study):
        assert reused(read_json(study.out / "runs" / "kd_fold0_seed0" / "summary.json")) == UNTAUGHT

    def test_a_rerun_retries_only_failed_runs(self, command, here, capsys):
        assert main(command) == 1
        assert here == ["broken_fold0_seed0"]
        assert "2 of 3 runs" in capsys.readouterr().out

    def test_a_finished_study_runs_nothing(self, command, here, capsys, monkeypatch):
        monkeypatch.setattr(run_grid, "PairedDataModule", None)  # recordings are not needed
        assert main([*command, "--methods", "kd,mse"]) == 0
        assert here == []
        output = capsys.readouterr().out
        assert "2 runs, 2 finished." in output and "2 of 2 runs" in output

    def test_a_run_with_other_settings_is_rerun(self, command, here):
        run = Path(command[4]) / "runs" / "kd_fold0_seed0"
        assert main([*command, "--methods=kd", "--transfer.trainer.max_steps=0"]) == 1
        assert here == ["kd_fold0_seed0"]
        assert not (run / "cell.json").exists()
        assert main([*command, "--methods=kd"]) == 0
        assert here == ["kd_fold0_seed0"] * 2
        assert read_json(run / "summary.json")["stages"]["finetune"]["reused"]

    def test_the_report_is_of_finished_runs(self, command, capsys):
        out = Path(command[4])
        assert main(["study", "report", str(out), "--format", "json"]) == 0
        numbers = json.loads(capsys.readouterr().out)
        assert sorted(row["name"] for row in numbers["methods"]) == ["kd", "mse"]
        for row in numbers["methods"]:
            summary = read_json(out / "runs" / f"{row['name']}_fold0_seed0" / "summary.json")
            assert row["over_control"]["gain_pp"] == pytest.approx(summary["gain"]["uar_pp"], abs=0.005)
            assert row["test_uar"] == pytest.approx(summary["stages"]["finetune"]["test_uar"])
        assert numbers["test_actors"] == ["01"]

    def test_python_runs_the_study_of_the_command_line(self, study, method_args, tmp_path, here):
        out = shutil.copytree(study.out, tmp_path / "out")
        settings = sections_of(method_args)
        report = crossmodal.study(study.file, out=out, names=["mse", "kd"], **settings)
        assert here == []  # the same settings, so nothing is run again
        assert [row["runs"] for row in report.numbers["methods"]] == [1, 1]
        assert (out / "report.html").exists()
        assert report._repr_html_().count("<figure>") >= 3
        with pytest.raises(StudyError, match="broken_fold0_seed0"):
            crossmodal.study(study.file, out=out, **settings)


def test_failures_have_their_reasons_and_finished_runs_are_skipped(monkeypatch, capsys):
    names = ("done", "a", "b", "c")
    cells = [SimpleNamespace(folder=Path(name), is_finished=name == "done") for name in names]

    def run_in_order(function, todo, processes):
        assert todo == cells[1:]
        yield from zip(todo, ("it failed", None, Failure("exit code 3", lasting=False)), strict=True)

    monkeypatch.setattr(run_grid, "prepare_corpora", lambda cells: None)
    monkeypatch.setattr(run_grid, "run_in_processes", run_in_order)
    assert run_grid.run_cells(cells) == {"a": "it failed", "c": "exit code 3"}


class TestConfirmation:
    @pytest.fixture
    def start(self, monkeypatch, tmp_path, capsys):
        """Return a function that starts a study and returns the number of started runs and the exit status."""
        started = []
        monkeypatch.setattr(run_grid, "run_cells", lambda cells, jobs: started.extend(cells) or {})

        def start(answer, *args, num_seeds=26, is_terminal=True):
            for stream in (sys.stdin, sys.stdout):
                monkeypatch.setattr(stream, "isatty", lambda: is_terminal, raising=False)
            monkeypatch.setattr("builtins.input", answer)
            file = write_study(tmp_path, methods={"a": {}, "b": {}}, seeds=list(range(num_seeds)))
            status = main(["study", "run", file, "--out", str(tmp_path / "out"), *args])
            output = capsys.readouterr()
            assert f"{2 * num_seeds} runs, 0 finished" in output.out
            return len(started), status, output.err

        return start

    @staticmethod
    def unexpected(prompt):
        pytest.fail("a question")

    @staticmethod
    def end_of_file(prompt):
        raise EOFError

    @pytest.mark.parametrize(("word", "number"), [("y", 52), ("Yes", 52), ("n", 0), ("", 0)])
    def test_a_person_is_asked_about_many_runs(self, start, word, number):
        started, status, error = start(lambda prompt: word)
        assert (started, status) == (number, 0 if number else 1)
        assert ("--yes" in error) == (number == 0)

    def test_the_end_of_input_declines(self, start):
        assert start(self.end_of_file)[:2] == (0, 1)

    @pytest.mark.parametrize(
        ("args", "options"), [(["--yes"], {}), ([], {"num_seeds": 25}), ([], {"is_terminal": False})], ids=str
    )
    def test_nobody_is_asked_without_need(self, start, args, options):
        started, status, _ = start(self.unexpected, *args, **options)
        assert (started, status) == (2 * options.get("num_seeds", 26), 0)


class TestRefusals:
    @pytest.fixture
    def refused(self, tmp_path, common_args, here, capsys):
        """Return a function that runs an invalid study and returns its error output."""

        def run(*args: str, **content) -> str:
            assert main(["study", "run", write_study(tmp_path, **content), *common_args, *args]) == 1
            assert here == []
            return capsys.readouterr().err

        return run

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--folds=0,9"], "loso24 fold 9"),
            (["--folds=99"], "99"),
            (["--methods=mse,brokn"], "'broken'"),
            (["--data.root=gone"], "gone"),
            (["--data.fold=1"], "--folds"),
        ],
    )
    def test_invalid_arguments_are_named(self, refused, args, message):
        assert message in refused(*args)

    def test_class_that_is_missing_from_training_is_found_before_the_first_run(self, refused, tiny_ravdess, tmp_path):
        root = shutil.copytree(tiny_ravdess, tmp_path / "rare")
        for actor in ("02", "03", "04"):
            for path in root.rglob(f"03-01-08-*-{actor}.wav"):
                path.unlink()
        error = refused(f"--data.root={root}", "--folds=0")
        assert "surprised" in error and "Fold 0" in error

    @pytest.mark.parametrize(
        ("args", "word"),
        [
            (["FILE", "--folds", "a"], "--folds"),
            (["FILE", "--jobs", "many"], "--jobs"),
            (["FILE", "--labelled", "2,some"], "--labelled"),
            (["--data.root", "ravdess", "FILE"], "FILE must be the first"),
        ],
    )
    def test_invalid_command_lines_are_refused(self, tmp_path, args, word, capsys):
        with pytest.raises(SystemExit) as raised:
            main(["study", "run", *(write_study(tmp_path) if arg == "FILE" else arg for arg in args)])
        assert raised.value.code == 2
        assert word in capsys.readouterr().err


APPLICATIONS = {
    "voice": [{"stages": "control"}],
    "lmfb": [{"stages": "control", "transfer": {"model": {"front_end": "lmfb"}}}],
    "face": [{"stages": "teacher"}],
    "transfer": [{"stages": "teacher,control,transfer,finetune"}],
    "broken": [{"stages": "control", "transfer": {"trainer": {"limit_train_batches": 0}}}],
}


@pytest.fixture(scope="module")
def applications(common_args, tmp_path_factory):
    """A study of applications under two protocols; tests must not change it."""
    folder = tmp_path_factory.mktemp("applications")
    file = write_study(folder, methods=None, applications=APPLICATIONS, protocols=["loso24", "random"])
    return run_study(file, folder / "out", *of_applications(common_args))


def of_applications(common_args):
    return ["--methods=voice,lmfb,face,transfer", *(word for word in common_args if "protocol" not in word)]


class TestApplications:
    @pytest.fixture
    def new(self, applications, common_args, tmp_path):
        """The command that runs the same study in an empty folder."""
        return ["study", "run", applications.file, "--out", str(tmp_path / "out"), *of_applications(common_args)]

    @pytest.fixture
    def args(self, applications, new):
        """The command that reruns a copy of the study."""
        shutil.copytree(applications.out, new[4])
        return new

    def test_print_commands_prints_one_per_run_and_runs_nothing(self, new, here, capsys):
        assert main([*new, "--print-commands"]) == 0
        lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
        assert here == []
        assert len(lines) == 2 * 4
        assert all(line[:3] == ["python", "-m", "crossmodal"] for line in lines)
        assert lines[0][3:] == [*new, "--only", "voice_loso24_fold0_seed0"]

    def test_finished_runs_are_not_printed(self, new, here, capsys):
        assert main([*new, "--only", "voice_loso24_fold0_seed0"]) == 0
        assert here == ["voice_loso24_fold0_seed0"]
        assert "1 of 1 runs" in capsys.readouterr().out
        main([*new, "--print-commands"])
        printed = capsys.readouterr().out
        assert len(printed.splitlines()) == 7
        assert "voice_loso24" not in printed

    def test_an_unknown_run_is_refused(self, new, here, capsys):
        assert main([*new, "--only", "voice_loso24_fold9_seed0"]) == 1
        assert "'voice_loso24_fold0_seed0'" in capsys.readouterr().err
        assert here == []

    def test_each_application_runs_its_stages(self, applications):
        assert applications.status == 0
        assert len(applications.names) == 8
        runs = applications.out / "runs"
        stages = {path.parent.name: list(read_json(path)["stages"]) for path in runs.glob("*_random_*/summary.json")}
        assert stages == {
            "voice_random_fold0_seed0": ["supervised", "control"],
            "lmfb_random_fold0_seed0": ["supervised", "control"],
            "face_random_fold0_seed0": ["teacher"],
            "transfer_random_fold0_seed0": [*UNTAUGHT, "transfer", "finetune"],
        }
        assert all(read_json(path)["speaker_dependent"] for path in runs.glob("*_random_*/summary.json"))
        assert reused(read_json(runs / "transfer_loso24_fold0_seed0" / "summary.json")) == UNTAUGHT

    def test_the_report_is_the_same_after_an_interruption(self, args, here, capsys):
        out = Path(args[4])
        report = ["study", "report", str(out), "--format", "json"]
        assert main(report) == 0
        before = json.loads(capsys.readouterr().out)
        assert list(before["protocols"]) == ["loso24", "random"]
        names = [one["name"] for one in before["applications"]]
        assert names == ["face", "lmfb", "transfer", "transfer (control)", "voice"]
        assert (out / "report.html").exists()
        (out / "runs" / "lmfb_loso24_fold0_seed0" / "cell.json").unlink()  # like a run that was killed
        assert main(args) == 0
        assert here == ["lmfb_loso24_fold0_seed0"]
        capsys.readouterr()
        assert main(report) == 0
        assert json.loads(capsys.readouterr().out) == before

    def test_audio_only_applications_need_no_faces(self, args, here):
        args = [word for word in args if "face_features" not in word]  # the corpus has no video
        assert main([*args, "--only", "voice_loso24_fold0_seed0"]) == 0
        assert here == ["voice_loso24_fold0_seed0"]  # the settings differ, so it runs again
        assert main([*args, "--only", "face_loso24_fold0_seed0"]) == 1


@pytest.mark.slow
def test_two_processes_and_a_second_control(tmp_path, common_args):
    file = write_study(tmp_path, methods={"mse": METHODS["mse"]}, folds=[0, 1], self_distillation=True)
    args = [sys.executable, "-m", "crossmodal", "study", "run", file, "--jobs", "2", *common_args]
    done = subprocess.run(args, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 runs" in done.stdout
    report = [*args[:4], "report", "studies/tiny", "--format=json"]
    (row,) = json.loads(subprocess.check_output(report, text=True, cwd=tmp_path))["methods"]
    assert row["runs"] == 2
    assert row["over_self"] is not None
    summaries = [read_json(path) for path in tmp_path.glob("studies/tiny/runs/*/summary.json")]
    assert sorted("control" in reused(summary) for summary in summaries) == [False, False, True, True]
