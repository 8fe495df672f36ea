"""One logger for all the stages of a run, whose metric names carry the stage."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import Logger, WandbLogger

from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import Config

SELECTED_BY = "val_uar"
_CSV = {"class_path": "lightning.pytorch.loggers.CSVLogger"}
# Of a stage's folder: what a report is made of.
_NUMBERS = ("config.yaml", "metrics.csv", "predictions.csv", "result.json")


def run_name(name: str) -> str:
    """The name of a run; under an agent of W&B with the trial's id, so that no two trials share a folder.

    The sweep's file cannot give it: an agent fills in ``${envvar:WANDB_RUN_ID}`` once, before its first trial has one.
    """
    trial = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
    return f"{name}_{trial}" if trial else name


def create_loggers(wanted: Any, folder: Path, settings: Config, last_stage: str) -> list[Logger]:
    """Make the loggers that ``trainer.logger`` asks for, each once for the whole run.

    Args:
        wanted: As Lightning's Trainer takes it: a class path with arguments, a list of them, true for a CSV file, or
            nothing.
        folder: Of the run; where a logger that is not told otherwise writes.
        settings: Of the run; what the loggers show as its configuration.
        last_stage: The one whose validation UAR is also logged as ``val_uar``, see `LastStage`.

    Raises:
        ConfigError: Weights & Biases cannot be reached, or does not know who asks.
    """
    if not wanted:
        return []
    import wandb  # a second that a run without loggers need not wait

    specs = wanted if isinstance(wanted, list) else [_CSV if wanted is True else wanted]
    parser = ArgumentParser()
    parser.add_argument("--loggers", type=list[Logger])
    config = parser.parse_object({"loggers": [_with_defaults(spec, folder, settings["name"]) for spec in specs]})
    loggers: list[Logger] = parser.instantiate(config).loggers
    try:
        for logger in loggers:
            logger.log_hyperparams(settings)  # the first word to W&B: here it logs in
    except wandb.Error as error:
        raise ConfigError(
            f"Weights & Biases cannot be used: {error} Log in with `wandb login`, or log offline and upload later: "
            "--trainer.logger.offline true."
        ) from error
    return [*loggers, LastStage(last_stage, loggers)]


class LastStage(Logger):
    """Logs the last stage's validation UAR a second time, as ``val_uar``: one name for runs of whichever stages.

    A sweep has one metric for all its trials, and is to see it once for each epoch of one stage.

    Args:
        stage: The last one that the run was asked for.
        loggers: Those of the run.
    """

    name = None
    version = None

    def __init__(self, stage: str, loggers: Iterable[Logger]) -> None:
        super().__init__()
        self._monitor = f"{stage}/{SELECTED_BY}"
        self._loggers = list(loggers)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run's loggers have them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass on that one."""
        if self._monitor in metrics:
            for logger in self._loggers:
                logger.log_metrics({SELECTED_BY: metrics[self._monitor]}, step)


def log_summary(loggers: list[Logger], summary: dict[str, Any], folder: Path) -> None:
    """Log what a run came to.

    Args:
        loggers: Those of the run.
        summary: As in ``summary.json``.
        folder: Of the run; its report and its model folder become artifacts of a W&B run.
    """
    numbers = _numbers(summary)
    for logger in loggers:
        logger.log_metrics(numbers)
        if isinstance(logger, WandbLogger):
            _log_artifacts(logger, summary, folder)


def end_loggers(loggers: list[Logger]) -> None:
    """Close files, and end the W&B run so that the next run of this process is another."""
    for logger in loggers:
        logger.finalize("success")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def _numbers(summary: dict[str, Any]) -> dict[str, float]:
    """The numbers of a summary by name; an interval as its two ends."""
    sections = {**summary["stages"], "gain": summary.get("gain", {})}
    numbers = {}
    for section, results in sections.items():
        for name, value in results.items():
            if name.startswith(("val_", "test_", "uar_", "ci95_")):
                ends = [("_low", value[0]), ("_high", value[1])] if isinstance(value, list | tuple) else [("", value)]
                numbers.update({f"{section}/{name}{end}": float(number) for end, number in ends})
    return numbers


def _log_artifacts(logger: WandbLogger, summary: dict[str, Any], folder: Path) -> None:
    report = [folder / "report.md", folder / "summary.json", folder / "set_aside.json", *folder.glob("*.png")]
    report += [folder / stage / name for stage in summary["stages"] for name in _NUMBERS]
    _log_artifact(logger, "report", folder, report)
    logger.log_image("confusion", [str(folder / "confusion.png")])  # on the run's page, without a download
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
    return {"class_path": spec["class_path"], "init_args": {**defaults, **spec.get("init_args", {})}}
