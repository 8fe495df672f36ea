import inspect

import pytest
from lightning.pytorch import Trainer

from crossmodal.pipeline.settings import parse_settings, stage_config
from crossmodal.pipeline.stage_key import settings_in_key
from crossmodal.pipeline.trainer_arguments import WITHOUT_EFFECT
from tests.pipeline import fit, read_rows, reused
from tests.pipeline.conftest import CONTROL_EPOCHS

STOP = "[{class_path: EarlyStopping, init_args: {monitor: control/val_uar, mode: max, stopping_threshold: 0.0}}]"
AVERAGE = "[{class_path: StochasticWeightAveraging, init_args: {swa_lrs: 0.01, swa_epoch_start: 1}}]"
HALF = "[{class_path: lightning.pytorch.plugins.precision.HalfPrecision, init_args: {precision: bf16-true}}]"
# Another value than the default for every argument of the Trainer.
CHANGED = {
    "accelerator": "cpu",
    "accumulate_grad_batches": 2,
    "barebones": "true",
    "benchmark": "true",
    "callbacks": STOP,
    "check_val_every_n_epoch": 2,
    "default_root_dir": "elsewhere",
    "detect_anomaly": "true",
    "deterministic": "true",
    "devices": 2,
    "enable_autolog_hparams": "false",
    "enable_checkpointing": "false",
    "enable_model_summary": "true",
    "enable_progress_bar": "true",
    "fast_dev_run": "true",
    "gradient_clip_algorithm": "value",
    "gradient_clip_val": 0.5,
    "inference_mode": "false",
    "limit_predict_batches": 1,
    "limit_test_batches": 1,
    "limit_train_batches": 1,
    "limit_val_batches": 1,
    "log_every_n_steps": 1,
    "logger": "true",
    "max_epochs": 7,
    "max_steps": 7,
    "max_time": "00:00:01:00",
    "min_epochs": 2,
    "min_steps": 2,
    "model_registry": "name",
    "num_nodes": 2,
    "num_sanity_val_steps": 2,
    "overfit_batches": 1,
    "plugins": HALF,
    "precision": "bf16-mixed",
    "profiler": "simple",
    "reload_dataloaders_every_n_epochs": 1,
    "strategy": "ddp",
    "sync_batchnorm": "true",
    "use_distributed_sampler": "false",
    "val_check_interval": 0.5,
}


def key_of(stage, *args):
    settings = parse_settings([*args, "--data.root=ravdess"])
    return settings_in_key(stage, stage_config(settings, stage, model={"num_classes": 8}))


def test_every_argument_of_the_trainer_is_in_the_key_or_listed_with_a_reason():
    arguments = inspect.signature(Trainer).parameters.keys()
    assert arguments == CHANGED.keys(), "an argument of this version of Lightning has no value to test"
    assert WITHOUT_EFFECT.keys() < arguments
    assert all(WITHOUT_EFFECT.values())
    before = key_of("teacher")
    without = {name for name, value in CHANGED.items() if key_of("teacher", f"--trainer.{name}={value}") == before}
    assert without == WITHOUT_EFFECT.keys()


@pytest.mark.parametrize(
    ("section", "stages"),
    [
        ("trainer", {"teacher", "supervised", "control", "transfer", "finetune"}),
        ("teacher.trainer", {"teacher"}),
        ("transfer.trainer", {"transfer", "supervised"}),
        ("finetune.trainer", {"finetune", "control"}),
    ],
)
def test_callbacks_are_in_the_keys_of_the_stages_that_have_them(section, stages):
    def changed(*values):
        names = ("teacher", "supervised", "control", "transfer", "finetune")
        first, second = ([key_of(name, *value) for name in names] for value in values)
        return {name for name, one, other in zip(names, first, second, strict=True) if one != other}

    assert changed([], [f"--{section}.callbacks={STOP}"]) == stages
    other = STOP.replace("max,", "min,")
    assert changed([f"--{section}.callbacks={STOP}"], [f"--{section}.callbacks={other}"]) == stages
    with_default = STOP.replace("mode: max", "mode: max, patience: 3")
    assert changed([f"--{section}.callbacks={STOP}"], [f"--{section}.callbacks={with_default}"]) == set()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ([f"--finetune.trainer.callbacks={STOP}"], [], ["supervised"]),
        ([], [f"--trainer.callbacks={AVERAGE}"], []),
        ([], ["--trainer.limit_train_batches=2"], []),
        ([], ["--trainer.overfit_batches=0.5"], []),
    ],
    ids=str,
)
def test_no_run_takes_the_result_of_other_trainer_arguments(decoded, tiny_args, first, second, same):
    assert not reused(fit(tiny_args(decoded, "--stages=control", *first)))
    summary = fit(tiny_args(decoded, "--stages=control", *second))
    assert reused(summary) == same
    for stage, epochs in CONTROL_EPOCHS.items():
        assert summary["stages"][stage]["epochs"] >= epochs
    assert reused(fit(tiny_args(decoded, "--stages=control", *first))) == ["supervised", "control"]


def test_the_listed_arguments_do_not_change_a_result(finished, decoded, tiny_args, monkeypatch):
    monkeypatch.chdir(decoded)
    more = [f"--trainer.{name}={CHANGED[name]}" for name in WITHOUT_EFFECT]
    assert not reused(fit(tiny_args(decoded, "--stages=control", *more)))
    for stage, epochs in CONTROL_EPOCHS.items():
        ours, theirs = (folder / stage for folder in (decoded / "runs" / "fit", finished.folder))
        for name in ("model.safetensors", "predictions.csv"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        assert len(read_rows(ours / "metrics.csv")) == epochs
