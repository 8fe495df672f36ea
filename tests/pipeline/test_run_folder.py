import json
import shutil
import signal
from pathlib import Path

import pytest
import torch

from crossmodal.errors import FolderInUseError
from crossmodal.pipeline.run import Run
from crossmodal.pipeline.run_folder import in_use
from crossmodal.pipeline.settings import parse_settings
from crossmodal.storage import read_json
from tests.pipeline import fit, reused
from tests.pipeline.stops import stop_at
from tests.pipeline.test_processes import start, until


def content(folder):
    """Return the content of the files of a run, without its lock and its pictures."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix and path.suffix != ".png"]
    files = [path for path in files if not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def copied(finished, store) -> Path:
    """A folder with a copy of the finished run and of its cache."""
    shutil.copytree(finished.folder, store / "runs" / "fit")
    return store


def test_two_runs_of_one_name_at_once_do_not_share_the_folder(decoded, tiny_args):
    args = tiny_args(decoded, "--stages=control", "--seed_everything=5")
    first = start([*args, "--transfer.trainer.max_epochs=10000"])
    run = decoded / "runs" / "fit"
    try:
        until((run / "supervised" / "checkpoints" / "last.ckpt").exists, 120)
        with pytest.raises(FolderInUseError, match=rf"fit .*process {first.pid} .*--name"):
            fit(tiny_args(decoded, "--stages=control", "--seed_everything=6"))
        key = read_json(run / "supervised" / "key.json")
        fit(tiny_args(decoded, "--stages=control", "--seed_everything=6", "--name=other"))
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert read_json(run / "supervised" / "key.json") == key
    summary = fit([*args, "--transfer.trainer.max_epochs=3"])  # the lock has ended with its process
    assert (summary["name"], reused(summary)) == ("fit-2", [])


def test_the_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), in_use(tmp_path / "fit"):
        raise KeyboardInterrupt
    with in_use(tmp_path / "fit"):
        with pytest.raises(FolderInUseError), in_use(tmp_path / "fit"):
            pass
        with in_use(tmp_path / "other"):
            pass


def test_a_run_of_another_fold_gets_its_own_folder(copied, tiny_args, capsys):
    runs = copied / "runs"
    before = content(runs / "fit")
    summary = fit(tiny_args(copied, "--data.fold=1", "--stages=teacher"))
    assert content(runs / "fit") == before
    assert (summary["name"], summary["fold"]) == ("fit-2", 1)
    assert read_json(runs / "fit-2" / "summary.json")["fold"] == 1
    assert not (runs / "fit-2" / "model").exists()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "other settings" in line]
    assert str(runs / "fit-2") in line
    assert fit(tiny_args(copied, "--data.fold=2", "--stages=teacher"))["name"] == "fit-3"
    summary = fit(tiny_args(copied, "--data.fold=1", "--stages=teacher,control"))  # more stages of the second run
    assert (summary["name"], reused(summary)) == ("fit-2", ["teacher"])
    assert fit(tiny_args(copied))["name"] == "fit"
    assert {path.name for path in runs.iterdir()} == {"fit", "fit-2", "fit-3"}


@pytest.mark.parametrize(
    "change",
    [
        ["--data.batch_size=16"],
        ["--seed_everything=1"],
        ["--transfer.model.lr=1e-3"],
        ["--teaching.cross_fit=2"],
        ["--trainer.callbacks=[{class_path: EarlyStopping, init_args: {monitor: teacher/val_uar}}]"],
        ["--data.labelled_actors=1"],
    ],
    ids=str,
)
def test_other_settings_get_another_folder(copied, tiny_args, change):
    assert fit(tiny_args(copied, "--stages=teacher", *change))["name"] == "fit-2"


@pytest.mark.parametrize(
    "change",
    [
        ["--stages=control"],
        ["--trainer.logger=true", "--trainer.enable_progress_bar=true"],
        ["--data.num_workers=1", "--data.fold=0"],  # the second is the default
    ],
    ids=str,
)
def test_the_same_configuration_keeps_the_folder(copied, tiny_args, change):
    assert fit(tiny_args(copied, *change))["name"] == "fit"
    assert not (copied / "runs" / "fit-2").exists()


def test_the_control_alone_and_the_full_run_share_a_folder(store, tiny_args):
    assert [fit(tiny_args(store, *more))["name"] for more in (["--stages=control"], [])] == ["fit", "fit"]


def test_other_recordings_get_another_folder(copied, tiny_args, tiny_ravdess, capsys):
    root = shutil.copytree(tiny_ravdess, copied / "moved")
    assert fit(tiny_args(copied, "--stages=control", root=root))["name"] == "fit"
    first, second, *_ = sorted((root / "Actor_03").iterdir())
    shutil.copy(second, first)
    assert fit(tiny_args(copied, "--stages=control", root=root))["name"] == "fit-2"
    assert "other recordings" in capsys.readouterr().out


def test_another_version_of_the_code_gets_another_folder(copied, tiny_args, monkeypatch, capsys):
    monkeypatch.setattr("crossmodal.tasks.VERSION", 1000)
    assert fit(tiny_args(copied, "--stages=teacher"))["name"] == "fit-2"
    assert "other versions" in capsys.readouterr().out


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_run_with_an_unknown_configuration_is_kept(copied, tiny_args, text):
    path = copied / "runs" / "fit" / "configuration.json"
    path.unlink() if text is None else path.write_text(text)
    assert fit(tiny_args(copied, "--stages=teacher"))["name"] == "fit-2"


def test_a_folder_without_results_is_used(store, tiny_args):
    folder = store / "runs" / "fit"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "configuration.json").write_text('{"settings": "of a run that failed", "faces": "other"}')
    assert fit(tiny_args(store, "--stages=control"))["name"] == "fit"
    assert (folder / "notes.txt").read_text() == "mine"
    assert "faces" not in read_json(folder / "configuration.json")


def test_a_study_keeps_the_name_and_moves_the_other_run(copied, tiny_args):
    runs = copied / "runs"
    (runs / "fit" / "log.txt").write_text("first")
    before = content(runs / "fit")
    settings = parse_settings(tiny_args(copied, "--data.fold=1", "--stages=teacher"))
    assert Run(settings, keep_name=True).fit().name == "fit"
    assert content(runs / "fit.old1") == {name: one for name, one in before.items() if name != "log.txt"}
    assert (runs / "fit" / "log.txt").read_text() == "first"
    assert not (runs / "fit" / "model").exists()
    assert Run(settings, keep_name=True).fit().name == "fit"
    assert {path.name for path in runs.iterdir()} == {"fit", "fit.old1"}


def test_a_cached_rerun_keeps_what_was_added(copied, tiny_args):
    run = copied / "runs" / "fit"
    for name in ("model/model.onnx", "model/model.int8.onnx", "model/my.txt", "control/my.txt", "my.txt"):
        (run / name).write_text("mine")
    for name in ("model", "control_model"):
        card = run / name / "README.md"
        card.write_text(card.read_text() + "\nMy own words.")
    before = content(run)
    assert len(reused(fit(tiny_args(copied)))) == 5
    after = content(run)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed <= {"summary.json", "report.md"}  # they say that the stages were reused


def test_other_weights_in_the_folder_move_the_old_model(copied, tiny_args, capsys):
    """The store was removed, and training gives other weights, as on some GPUs."""
    run = copied / "runs" / "fit"
    (run / "model" / "model.onnx").write_text("of the old weights")
    weights = run / "model" / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    fit(tiny_args(copied))
    assert not (run / "model" / "model.onnx").exists()
    assert (run / "model.old1" / "model.onnx").read_text() == "of the old weights"
    assert (run / "model.old1" / "model.safetensors").read_bytes() == changed
    assert str(run / "model.old1") in capsys.readouterr().err


def test_a_stage_of_another_key_in_the_folder_keeps_unknown_files(copied, tiny_args, monkeypatch):
    stage = copied / "runs" / "fit" / "finetune"
    (stage / "key.json").write_text('"of other teacher outputs"')
    (stage / "result.json").unlink()
    (stage / "my.txt").write_text("mine")
    fit(tiny_args(copied))
    assert (stage / "my.txt").read_text() == "mine"
    assert not list((stage / "checkpoints").iterdir())
    assert json.loads((stage / "key.json").read_text()) == json.loads((stage / "result.json").read_text())["key"]


def test_the_store_has_only_files_of_the_package(decoded, tiny_args):
    run = decoded / "runs" / "fit" / "control"
    run.mkdir(parents=True)
    (run / "my.txt").write_text("mine")
    fit(tiny_args(decoded, "--stages=control"))
    stored = [path for path in (decoded / "cache" / "stages").iterdir() if path.name != ".locks"]
    assert len(stored) == 2
    assert not any((path / "my.txt").exists() for path in stored)


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_checkpoint_of_another_run_is_refused(decoded, tiny_args, monkeypatch, name):
    """Two processes can write to one folder on a file system without locks."""
    args = tiny_args(decoded, "--stages=control")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, KeyboardInterrupt(), "supervised", 2, 3)
        fit(args)
    path = decoded / "runs" / "fit" / "supervised" / "checkpoints" / f"{name}.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["callbacks"]["History"]["key"] = "of another run"
    torch.save(checkpoint, path)
    with pytest.raises(FolderInUseError, match="--name"):
        fit(args)
    assert [one.name for one in (decoded / "cache" / "stages").iterdir()] == [".locks"]
