import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger

from crossmodal.errors import ConfigError
from crossmodal.pipeline.loggers import create_loggers, end_loggers, log_summary, run_name
from tests.offline_runs import read_offline_run
from tests.pipeline import fit, read_rows

SUMMARY = {
    "stages": {"control": {"val_uar": 0.5, "test_uar": 0.25, "test_uar_ci95": (0.1, 0.4), "seconds": 3.0}},
    "gain": {"uar_pp": 1.5, "ci95_pp": [-1.0, 4.0], "of": "finetune minus control"},
}


def metrics(path):
    """Return the last value of each metric in a CSVLogger's file."""
    return {name: value for row in read_rows(path) for name, value in row.items() if value != ""}


@pytest.mark.parametrize("wanted", [None, False])
def test_no_logger_by_default(tmp_path, wanted):
    assert create_loggers(wanted, tmp_path, {"name": "fit"}, "finetune") == []


def test_true_creates_a_csv_logger_in_the_runs_folder(tmp_path):
    logger, last_stage = create_loggers(True, tmp_path, {"name": "fit", "data": {"fold": 2}}, "control")
    assert isinstance(logger, CSVLogger)
    log_summary([logger, last_stage], SUMMARY, tmp_path)
    end_loggers([logger, last_stage])
    (path,) = tmp_path.rglob("metrics.csv")
    numbers = {name: float(value) for name, value in metrics(path).items() if name != "step"}
    assert numbers == {
        "control/val_uar": 0.5,
        "control/test_uar": 0.25,
        "control/test_uar_ci95_low": 0.1,
        "control/test_uar_ci95_high": 0.4,
        "gain/uar_pp": 1.5,
        "gain/ci95_pp_low": -1.0,
        "gain/ci95_pp_high": 4.0,
        "val_uar": 0.5,
    }
    assert "fold: 2" in path.with_name("hparams.yaml").read_text()


def test_an_impossible_interval_is_not_logged(tmp_path):
    loggers = create_loggers(True, tmp_path, {"name": "fit"}, "control")
    stages = {"control": SUMMARY["stages"]["control"] | {"test_uar_ci95": None}}
    log_summary(loggers, {"stages": stages, "gain": {"uar_pp": 1.5, "ci95_pp": None}}, tmp_path)
    end_loggers(loggers)
    (path,) = tmp_path.rglob("metrics.csv")
    assert metrics(path).keys() - {"step"} == {"control/val_uar", "control/test_uar", "gain/uar_pp", "val_uar"}


def test_a_class_path_with_arguments_creates_the_logger(tmp_path):
    wanted = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path / "there")}}
    logger, _ = create_loggers(wanted, tmp_path / "here", {"name": "fit"}, "finetune")
    assert isinstance(logger, CSVLogger)
    assert logger.root_dir.startswith(str(tmp_path / "there"))


def test_several_loggers(tmp_path):
    path = "lightning.pytorch.loggers.CSVLogger"
    wanted = [path, {"class_path": path, "init_args": {"name": "other"}}]
    first, second, _ = create_loggers(wanted, tmp_path, {"name": "fit"}, "finetune")
    assert first.log_dir != second.log_dir


@pytest.fixture
def offline_run(tiny_args):
    """Run `fit` with W&B offline, and read its run file."""

    def run(folder, *more):
        summary = fit(
            tiny_args(folder, "--name=tiny", "--trainer.logger=wandb", "--trainer.logger.offline=true", *more)
        )
        (path,) = (folder / "runs" / "tiny").rglob("*.wandb")  # one run for all stages
        return summary, read_offline_run(path)

    return run


def test_an_offline_wandb_run_has_all_stages(decoded, offline_run):
    summary, offline = offline_run(decoded, "--stages=teacher,control")
    assert (offline.run.project, offline.run.display_name) == ("crossmodal", "tiny")
    assert offline.config["stages"] == "teacher,control"
    logged = offline.history
    assert len(logged["teacher/val_uar"]) == 3 + 1  # each epoch, and the best one at the end
    assert len(logged["supervised/val_uar"]) == 3 + 1
    assert len(logged["control/val_uar"]) == 2 + 1
    assert logged["control/test_uar"] == [pytest.approx(summary["stages"]["control"]["test_uar"])]
    assert {"teacher/train_loss", "control/train_uar"} <= logged.keys()
    assert logged["val_uar"] == logged["control/val_uar"]  # of the last stage
    assert "model" not in offline.artifacts  # there is no student


def test_a_cached_run_logs_its_metrics_and_artifacts(store, offline_run):
    summary, offline = offline_run(store)
    results, logged = summary["stages"]["finetune"], offline.history
    assert logged["val_uar"] == logged["finetune/val_uar"] == [pytest.approx(results["val_uar"])]
    assert logged["finetune/test_uar"] == [pytest.approx(results["test_uar"])]
    assert logged["gain/uar_pp"] == [summary["gain"]["uar_pp"]]
    assert not [name for name in logged if "ci95" in name]  # one test actor
    folder = store / "runs" / "tiny"
    for kind, files in (("report", folder), ("model", folder / "model")):
        for name, content in offline.artifacts[kind].items():
            assert content.read_bytes() == (files / name).read_bytes()
    assert offline.artifacts["model"].keys() == {path.name for path in (folder / "model").iterdir()}
    assert offline.artifacts["report"].keys() >= {
        *("report.md", "summary.json", "confusion.png", "curves.png", "actors.png"),
        *(f"{stage}/predictions.csv" for stage in summary["stages"]),
    }


def test_disabled_wandb_is_not_an_error(store, tiny_args, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()  # to read the environment again
    try:
        fit(tiny_args(store, "--trainer.logger=wandb"))
    finally:
        wandb.teardown()
    assert list((store / "runs").rglob("*.wandb")) == []


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "fit"),
        ({"WANDB_RUN_ID": "abc"}, "fit"),  # set by the user, outside of a sweep
        ({"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "abc"}, "fit_abc"),
    ],
)
def test_trials_of_an_agent_have_distinct_names(monkeypatch, environment, name):
    for variable in ("WANDB_SWEEP_ID", "WANDB_RUN_ID"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert run_name("fit") == name


def test_a_failed_login_suggests_offline_logging(tmp_path, monkeypatch):
    def refuse(self, params):
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(CSVLogger, "log_hyperparams", refuse)
    with pytest.raises(ConfigError, match=r"No API key.*--trainer\.logger\.offline"):
        create_loggers(True, tmp_path, {"name": "fit"}, "finetune")
