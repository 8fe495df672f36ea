import json
import shutil

import pytest
import torch
import yaml

from crossmodal.datamodules import PairedDataModule
from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import parse_settings, stage_config
from crossmodal.pipeline.stage import StageRun
from crossmodal.pipeline.stage_key import model_in_key
from crossmodal.pipeline.stage_result import has_result, load_result
from crossmodal.tasks import ControlTask, FinetuneTask, SupervisedTask, TransferTask
from tests.pipeline import read_rows


@pytest.fixture
def make(finished, tmp_path):
    """Build a stage, by default the first one of the control; `change` are further arguments."""

    def make(*change, stage="supervised", clips=None, upstream=()):
        settings = parse_settings([*finished.args, *change])
        if clips is None:
            corpus = PairedDataModule(**settings["data"], seed=settings["seed_everything"])
            corpus.setup()
            clips = [clip.clip for clip in corpus.clips]
        config = stage_config(settings, stage, model={"num_classes": 8})
        return StageRun(stage, config, clips, tmp_path / stage, list(upstream))

    return make


def test_the_key_is_reproducible(make, finished):
    assert make().key == make().key == load_result("supervised", finished.folder / "supervised", True).key


def test_the_key_depends_on_the_content_of_weights_not_on_their_path(tmp_path):
    for name, content in (("a", b"1"), ("copy_of_a", b"1"), ("b", b"2")):
        (tmp_path / name).write_bytes(content)

    def key(name):
        path = str(tmp_path / name)
        return model_in_key({"weights": path, "encoder_kwargs": {"weights": path}})

    assert key("a") == key("copy_of_a") != key("b")


@pytest.mark.parametrize(
    "change",
    [
        *("--trainer.logger=true", "--trainer.enable_model_summary=true", "--trainer.log_every_n_steps=1"),
        *("--name=other", "--transfer.model.kd_loss_weight=1", "--teacher.model.lr=1", "--finetune.model.lr=1"),
    ],
)
def test_settings_of_the_output_and_of_other_stages_are_not_in_the_key_of_supervised(make, change):
    assert make(change).key == make().key


@pytest.mark.parametrize(
    "change",
    [
        "--transfer.model.lr=1e-4",
        "--transfer.model.encoder=cnn --transfer.model.encoder_kwargs=null",
        "--transfer.model.encoder_kwargs.hidden_size=17",
        "--transfer.trainer.max_epochs=9",
        "--trainer.gradient_clip_val=0.1",
        "--data.batch_size=16",
        "--data.fold=1",
        "--seed_everything=1",
    ],
)
def test_settings_of_the_result_change_the_key(make, change):
    assert make(*change.split()).key != make().key


@pytest.mark.parametrize("change", ["--finetune.trainer.max_epochs=9", "--finetune.model.lr=1e-4"])
def test_settings_of_finetune_change_the_key_of_the_control(make, change):
    assert make(change, stage="control").key != make(stage="control").key


def test_the_key_depends_on_upstream_keys(make):
    assert make(stage="finetune", upstream=["one"]).key != make(stage="finetune", upstream=["other"]).key


def test_the_key_depends_on_the_clips(make, finished):
    held_out = [row["clip"] for row in read_rows(finished.folder / "control" / "predictions.csv")]
    all_clips = [clip.clip for split in make().datamodule.split.values() for clip in split]
    assert make(clips=all_clips).key == make().key
    assert make(clips=[clip for clip in all_clips if clip != held_out[0]]).key != make().key


def test_the_key_depends_on_the_content_of_the_audio(make, finished, tiny_ravdess, tmp_path):
    root = tmp_path / "louder"
    shutil.copytree(tiny_ravdess, root)
    assert make(f"--data.root={root}").key == make().key  # the same files elsewhere
    first, second, *_ = sorted((root / "Actor_03").iterdir())
    shutil.copy(second, first)
    assert make(f"--data.root={root}").key != make().key


@pytest.mark.parametrize("module", ["datamodules", "losses", "models", "pipeline.stage_key", "tasks", "transforms"])
def test_a_raised_version_invalidates_a_stored_result(make, finished, monkeypatch, module):
    store = finished.folder / "supervised"
    assert has_result(store, make().key)
    monkeypatch.setattr(f"crossmodal.{module}.VERSION", 1000)
    assert not has_result(store, make().key)


def test_a_stage_writes_its_full_configuration(finished):
    config = yaml.safe_load((finished.folder / "finetune" / "config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 2
    assert config["data"]["protocol"] == "loso24"
    task = FinetuneTask(**config["model"] | {"weights": None})
    assert task.model.config["encoder"] == "dense"
    assert task.model.config["encoder_kwargs"]["hidden_size"] == 16


@pytest.mark.parametrize(
    "stage, task",
    [
        ("supervised", SupervisedTask),
        ("control", ControlTask),
        ("transfer", TransferTask),
        ("finetune", FinetuneTask),
    ],
)
def test_a_stages_best_checkpoint_loads_alone(finished, stage, task):
    path = finished.folder / stage / "checkpoints" / "best.ckpt"
    loaded = task.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    assert loaded.hparams["encoder"] == "dense"
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["epoch"] == finished.summary["stages"][stage]["best_epoch"]
    assert any("History" in name for name in checkpoint["callbacks"])


def test_the_last_checkpoint_is_that_of_the_last_epoch(finished):
    for stage, numbers in finished.summary["stages"].items():
        last = torch.load(finished.folder / stage / "checkpoints" / "last.ckpt", weights_only=True)
        assert last["epoch"] == numbers["epochs"] - 1
    assert any(one["best_epoch"] < one["epochs"] - 1 for one in finished.summary["stages"].values())


def test_metrics_of_a_stored_result_follow_the_rule_of_intervals(finished, tmp_path):
    """A result may be stored by a version that had an interval over one actor."""
    shutil.copytree(finished.folder / "control", tmp_path / "control")
    path = tmp_path / "control" / "result.json"
    stored = json.loads(path.read_text())
    expected = stored["metrics"]["test"]["uar"]
    stored["metrics"]["test"]["uar_ci95"] = [0.2, 0.2]
    path.write_text(json.dumps(stored))
    metrics = load_result("control", tmp_path / "control", True).metrics
    assert metrics["test"]["uar"] == pytest.approx(expected)
    assert metrics["test"]["uar_ci95"] is None


def test_load_result(finished):
    result = load_result("transfer", finished.folder / "transfer", reused=True)
    numbers = finished.summary["stages"]["transfer"]
    assert (result.stage, result.reused, result.epochs) == ("transfer", True, 3)
    assert result.metrics["test"]["uar"] == numbers["test_uar"]
    assert result.seconds == numbers["seconds"]
    assert result.best_epoch == numbers["best_epoch"]
    assert result.model.name == "model.safetensors"


def test_the_store_has_no_partial_results(make, store, monkeypatch):
    short = ("--transfer.model.lr=1e-4", "--finetune.trainer.max_epochs=1", "--transfer.trainer.max_epochs=1")
    run = make(*short)
    stages = store / "cache" / "stages"
    copyfile, copied = shutil.copyfile, []

    def fail(source, target):
        if len(copied) == 4:
            raise OSError("no space left on device")
        copied.append(copyfile(source, target))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr("crossmodal.pipeline.stage.shutil.copyfile", fail)
        run.run(stages, [])
    assert len(list((stages / run.key).iterdir())) == 4
    assert not run.is_stored(stages)
    make(*short).run(stages, [])
    assert run.is_stored(stages)


def test_different_devices_for_a_stage_are_refused(make):
    with pytest.raises(ConfigError, match=r"devices.*1.*transfer.*2"):
        make("--trainer.accelerator=cpu", "--transfer.trainer.devices=2", stage="transfer")


@pytest.mark.parametrize("change", ["--trainer.profiler=none", "--transfer.model.encoder_kwargs.hidden_size=-1"])
def test_invalid_values_are_refused(make, change):
    with pytest.raises(ConfigError, match="supervised"):
        make(change)
