"""Loggers that are shared by all stages of a run; metric names start with the stage."""

import logging
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import Logger, WandbLogger

from crossmodal.errors import ConfigError
from crossmodal.pipeline.checks import invalid_settings
from crossmodal.pipeline.settings import Config

SELECTED_BY = "val_uar"
_CSV = {"class_path": "lightning.pytorch.loggers.CSVLogger"}
# Files of a stage's folder that are uploaded with the report.
_STAGE_FILES = ("config.yaml", "metrics.csv", "predictions.csv", "result.json")


def run_name(name: str) -> str:
    """Return the name of a run; under a W&B agent, append the trial's id, so that trials do not share a folder.

    A sweep file cannot set it: an agent expands ``${envvar:WANDB_RUN_ID}`` once, before the first trial has an id.
    """
    trial = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
    return f"{name}_{trial}" if trial else name


def create_loggers(wanted: Any, folder: Path, settings: Config, last_stage: str) -> list[Logger]:
    """Create the loggers of ``trainer.logger``, once for the whole run, and log its settings.

    `wanted` is a class path with arguments, a list of them, true for a CSV file, or a false value for none.
    """
    if not wanted:
        return []
    import wandb  # slow to import (about 1 s)

    specs = wanted if isinstance(wanted, list) else [_CSV if wanted is True else wanted]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loggers", type=list[Logger])
    with invalid_settings("trainer.logger"):
        config = parser.parse_object({"loggers": [_with_defaults(one, folder, settings["name"]) for one in specs]})
        loggers: list[Logger] = parser.instantiate(config).loggers
    try:
        for logger in loggers:
            logger.log_hyperparams(settings)  # this logs in to W&B
    except wandb.Error as error:
        raise ConfigError(
            f"Weights & Biases cannot be used: {error} Log in with `wandb login`, or log offline and upload later: "
            "--trainer.logger.offline true."
        ) from error
    return [*loggers, LastStage(last_stage, loggers)]


class LastStage(Logger):
    """Log the last stage's validation UAR also as ``val_uar``, a name that does not depend on the stages.

    A sweep needs one metric for all its trials, logged once per epoch of one stage.
    """

    name = None
    version = None

    def __init__(self, stage: str, loggers: Iterable[Logger]) -> None:
        super().__init__()
        self._monitor = f"{stage}/{SELECTED_BY}"
        self._loggers = list(loggers)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the other loggers log the hyper-parameters."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the metric as ``val_uar`` if it is present."""
        if self._monitor in metrics:
            for logger in self._loggers:
                logger.log_metrics({SELECTED_BY: metrics[self._monitor]}, step)


def log_summary(loggers: list[Logger], summary: dict[str, Any], folder: Path) -> None:
    """Log the results of a run; its report and model folder become artifacts of a W&B run."""
    numbers = _numbers(summary)
    for logger in loggers:
        logger.log_metrics(numbers)
        if isinstance(logger, WandbLogger):
            _log_artifacts(logger, summary, folder)


def end_loggers(loggers: list[Logger]) -> None:
    """Close the loggers, and finish the W&B run so that the next run of this process starts a new one."""
    for logger in loggers:
        logger.finalize("success")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def _numbers(summary: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of a summary by name; an interval becomes ``_low`` and ``_high``, and None is dropped."""
    sections = {**summary["stages"], "gain": summary.get("gain", {})}
    numbers = {}
    for section, results in sections.items():
        for name, value in results.items():
            if value is not None and name.startswith(("val_", "test_", "uar_", "ci95_")):
                ends = [("_low", value[0]), ("_high", value[1])] if isinstance(value, list | tuple) else [("", value)]
                numbers.update({f"{section}/{name}{end}": float(number) for end, number in ends})
    return numbers


def _log_artifacts(logger: WandbLogger, summary: dict[str, Any], folder: Path) -> None:
    report = [folder / "report.md", folder / "summary.json", folder / "excluded.json", *folder.glob("*.png")]
    report += [folder / stage / name for stage in summary["stages"] for name in _STAGE_FILES]
    _log_artifact(logger, "report", folder, report)
    logger.log_image("confusion", [str(folder / "confusion.png")])  # shown on the W&B page without a download
    if "model" in summary:
        model = Path(summary["model"])
        _log_artifact(logger, "model", model, model.iterdir())


def _log_artifact(logger: WandbLogger, kind: str, folder: Path, files: Iterable[Path]) -> None:
    import wandb

    artifact = wandb.Artifact(f"{kind}-{logger.experiment.id}", type=kind)
    for path in files:
        artifact.add_file(str(path), name=path.relative_to(folder).as_posix())
    logger.experiment.log_artifact(artifact)


def _with_defaults(spec: Any, folder: Path, name: str) -> Any:
    if isinstance(spec, str):
        spec = {"class_path": spec}
    is_wandb = spec["class_path"].endswith("WandbLogger")
    defaults = {"save_dir": str(folder)} | ({"project": "crossmodal", "name": name} if is_wandb else {})
    given = {key: value for key, value in spec.get("init_args", {}).items() if (key, value) != ("save_dir", "")}
    return {"class_path": spec["class_path"], "init_args": {**defaults, **given}}


def silence_lightning() -> None:
    """Silence messages that four Trainers would repeat, and warnings that do not concern the user."""
    for name in ("pytorch.utilities.rank_zero", "fabric.utilities.seed", "fabric.utilities.distributed"):
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # reading from the cache is cheaper than a worker
        ".*The number of training batches.*",  # nothing is logged per step
        ".*treespec, LeafSpec.*",  # Lightning's own use of torch
        ".*functional.all_gather is deprecated.*",  # the same
        ".*Checkpoint directory.*exists and is not empty.*",  # a resumed run
    ):
        warnings.filterwarnings("ignore", message)
