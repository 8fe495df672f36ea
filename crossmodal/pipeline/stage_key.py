"""The part of a stage's key that its settings and the code determine, and the parser of its settings."""

import os
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer

from crossmodal import datamodules, losses, models, tasks, transforms
from crossmodal.pipeline.settings import STAGES, Config
from crossmodal.pipeline.trainer_arguments import WITHOUT_EFFECT
from crossmodal.storage import hash_file

# Raise when the pipeline trains or evaluates a stage differently: every stage is then trained again.
VERSION = 3


def settings_in_key(stage: str, config: Config) -> Config:
    """Return the settings of a stage that can change its result, with all defaults and without its data."""
    config = stage_parser(stage).parse_object(config).as_dict()
    trainer = {name: value for name, value in config["trainer"].items() if name not in WITHOUT_EFFECT}
    return {"model": model_in_key(config["model"]), "trainer": trainer, "seed": config["seed_everything"]}


@cache
def stage_parser(stage: str, has_model: bool = True) -> ArgumentParser:
    """Return the parser of a stage's configuration, with the layout of LightningCLI."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--seed_everything", type=int)
    parser.add_class_arguments(Trainer, "trainer", instantiate=False, fail_untyped=False)
    if has_model:
        parser.add_class_arguments(STAGES[stage].task, "model", fail_untyped=False)
    parser.add_class_arguments(STAGES[stage].datamodule, "data", fail_untyped=False)
    return parser


def model_in_key(model: Config) -> Config:
    """Return a task's arguments for the key, with the hash of a file in place of its path."""
    arguments = deepcopy(model)
    arguments.pop("teacher", None)  # it is covered by the upstream key
    if arguments.get("front_end") == "pretrained":  # its weights are covered by the data and `StageRun`
        (arguments["front_end_kwargs"] or {}).pop("weights", None)
    given = (arguments.get(name) for name in ("front_end", "front_end_kwargs", "encoder", "encoder_kwargs"))
    parts = [one.get("init_args", one) for one in given if isinstance(one, dict)]
    for part in (arguments, *parts):
        if os.path.isfile(part.get("weights") or ""):  # noqa: PTH113  (no error for a too long name)
            part["weights"] = hash_file(Path(part["weights"]))
    return arguments


def code_version() -> str:
    """Return the versions of torch and of the code that determines a stage's result, as one string.

    The versions are integers beside the code. They are raised by hand, so that other edits keep stored results valid.
    """
    packages = (datamodules, losses, models, tasks, transforms)
    versions = [f"{package.__name__.removeprefix('crossmodal.')} {package.VERSION}" for package in packages]
    return ", ".join([f"torch {torch.__version__}", f"stage {VERSION}", *versions])
