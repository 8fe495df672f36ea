"""One logger for all the stages of a run, whose metric names carry the stage."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import Logger, WandbLogger

from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import Config

_CSV = {"class_path": "lightning.pytorch.loggers.CSVLogger"}


def create_loggers(wanted: Any, folder: Path, settings: Config) -> list[Logger]:
    """Make the loggers that ``trainer.logger`` asks for, each once for the whole run.

    Args:
        wanted: As Lightning's Trainer takes it: a class path with arguments, a list of them, true for a CSV file, or
            nothing.
        folder: Of the run; where a logger that is not told otherwise writes.
        settings: Of the run; what the loggers show as its configuration.

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
    return loggers


def log_summary(loggers: list[Logger], summary: dict[str, Any]) -> None:
    """Log the final numbers, and end the W&B run so that the next run of this process is another."""
    numbers = {
        f"{stage}/{name}": value
        for stage, results in summary["stages"].items()
        for name, value in results.items()
        if name.startswith(("val_", "test_")) and isinstance(value, float)
    }
    if "gain" in summary:
        numbers["gain/uar_pp"] = summary["gain"]["uar_pp"]
    for logger in loggers:
        logger.log_metrics(numbers)
        logger.finalize("success")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def _with_defaults(spec: Any, folder: Path, name: str) -> Any:
    if isinstance(spec, str):
        spec = {"class_path": spec}
    is_wandb = spec["class_path"].endswith("WandbLogger")
    defaults = {"save_dir": str(folder)} | ({"project": "crossmodal", "name": name} if is_wandb else {})
    return {"class_path": spec["class_path"], "init_args": {**defaults, **spec.get("init_args", {})}}
