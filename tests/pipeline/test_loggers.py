import csv
import json

import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger

from crossmodal.errors import ConfigError
from crossmodal.pipeline import fit
from crossmodal.pipeline.loggers import create_loggers, log_summary

SUMMARY = {
    "stages": {"control": {"val_uar": 0.5, "test_uar": 0.25, "test_uar_ci95": (0.1, 0.4), "seconds": 3.0}},
    "gain": {"uar_pp": 1.5},
}


def metrics(path):
    """Every number of a CSVLogger's file by name, the last one counts."""
    with path.open(newline="") as file:
        return {name: value for row in csv.DictReader(file) for name, value in row.items() if value != ""}


@pytest.mark.parametrize("wanted", [None, False])
def test_no_logger_unless_asked_for(tmp_path, wanted):
    assert create_loggers(wanted, tmp_path, {"name": "fit"}) == []


def test_true_is_a_csv_file_in_the_runs_folder(tmp_path):
    (logger,) = create_loggers(True, tmp_path, {"name": "fit", "data": {"fold": 2}})
    assert isinstance(logger, CSVLogger)
    log_summary([logger], SUMMARY)
    (path,) = tmp_path.rglob("metrics.csv")
    numbers = metrics(path)
    assert {name: float(numbers[name]) for name in ("control/val_uar", "control/test_uar", "gain/uar_pp")} == {
        "control/val_uar": 0.5,
        "control/test_uar": 0.25,
        "gain/uar_pp": 1.5,
    }
    assert "control/seconds" not in numbers
    assert "fold: 2" in path.with_name("hparams.yaml").read_text()


def test_a_class_path_with_arguments(tmp_path):
    wanted = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path / "there")}}
    (logger,) = create_loggers(wanted, tmp_path / "here", {"name": "fit"})
    assert isinstance(logger, CSVLogger)
    assert logger.root_dir.startswith(str(tmp_path / "there"))


def test_several_loggers_at_once(tmp_path):
    path = "lightning.pytorch.loggers.CSVLogger"
    wanted = [path, {"class_path": path, "init_args": {"name": "other"}}]
    first, second = create_loggers(wanted, tmp_path, {"name": "fit"})
    assert first.log_dir != second.log_dir


def test_a_csv_logger_of_a_run_holds_all_its_stages(decoded, tiny_args):
    logger = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={decoded / 'log'}"]
    fit(tiny_args(decoded, "--stages=teacher,control", *logger))
    (path,) = (decoded / "log").rglob("metrics.csv")
    numbers = metrics(path)
    for name in ("teacher/val_uar", "teacher/train_loss", "control/val_uar", "control/train_loss", "control/test_uar"):
        assert name in numbers


def test_an_offline_wandb_run_holds_all_its_stages(decoded, tiny_args):
    logger = ["--trainer.logger=wandb", "--trainer.logger.offline=true"]
    summary = fit(tiny_args(decoded, "--stages=teacher,control", "--name=tiny", *logger))
    (path,) = (decoded / "runs" / "tiny").rglob("*.wandb")  # one run for both stages
    logged = {}
    for record in read_wandb(path.read_bytes()):
        if record.HasField("run"):
            assert (record.run.project, record.run.display_name) == ("crossmodal", "tiny")
        for item in record.history.item:
            logged.setdefault(item.key or "/".join(item.nested_key), []).append(json.loads(item.value_json))
    assert len(logged["teacher/val_uar"]) == 3 + 1  # an epoch each, and the best one at the end
    assert len(logged["control/val_uar"]) == 5 + 1
    assert logged["control/test_uar"] == [pytest.approx(summary["stages"]["control"]["test_uar"])]
    assert {"teacher/train_loss", "control/train_uar"} <= logged.keys()


def read_wandb(content):
    """The records of an offline run: LevelDB's log format behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    position, data = 7, b""
    while position + 7 <= len(content):
        if (room := 32768 - position % 32768) < 7:  # a block's end, too short for a piece
            position += room
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        data += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or its last piece
            yield Record.FromString(data)
            data = b""


def test_without_an_account_the_error_says_how_to_go_on(tmp_path, monkeypatch):
    def refuse(self, params):
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(CSVLogger, "log_hyperparams", refuse)
    with pytest.raises(ConfigError, match=r"No API key configured\. Log in .* --trainer\.logger\.offline true"):
        create_loggers(True, tmp_path, {"name": "fit"})
