"""The grid of a study: its file, and the runs that it asks for, methods x folds x seeds."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from crossmodal.errors import ConfigError
from crossmodal.naming import look_up
from crossmodal.pipeline.settings import STAGES, STUDENT, Config, merge, parse_settings, stage_config
from crossmodal.pipeline.teaching import TeachingSettings
from crossmodal.storage import content_key, read_json
from crossmodal.tasks import TransferTask

CELL, SUMMARY = "cell.json", "summary.json"
# What the grid sets in each run, with what says it instead.
_OF_THE_GRID = {
    "name": "a run is named by its method, fold and seed",
    "runs": "the folder is --out",
    "stages": "a study runs all stages, for there is no gain without a control",
    "seed_everything": "seeds are in the file, or --seeds",
    "data.fold": "folds are in the file, or --folds",
}
# Where a run happens and how it is shown, but not what comes out of it.
_NOT_IN_KEY = ("name", "runs")


@dataclass(frozen=True)
class Study:
    """What a study's file says.

    Args:
        file: Where it stands.
        methods: What each method changes, by its name: sections as in a file for ``fit --config``.
        configs: Files for ``fit --config``, those of all methods; relative to the study's file.
        folds: Of the protocol, counted from 0.
        seeds: Each makes a teacher, a control and a student of its own.
        self_distillation: Whether every method is also run with a voice teacher, the second control.

    Raises:
        ConfigError: A value that cannot be.
    """

    file: Path
    methods: dict[str, Config]
    configs: Sequence[str] = ()
    folds: Sequence[int] = (0,)
    seeds: Sequence[int] = (0, 1, 2)
    self_distillation: bool = False

    def __post_init__(self) -> None:
        for name in ("folds", "seeds"):
            if not _are_numbers(numbers := getattr(self, name)):
                raise ConfigError(f"{self.file}: {name} is a list of different whole numbers, not {numbers!r}.")
        if not isinstance(self.self_distillation, bool):
            raise ConfigError(f"{self.file}: self_distillation is true or false, not {self.self_distillation!r}.")
        if not isinstance(self.methods, Mapping) or not self.methods:
            raise ConfigError(f"{self.file}: methods is a mapping from a method's name to what it changes.")
        for name, delta in self.methods.items():
            if not isinstance(delta, Mapping) or not _is_a_name(name):
                raise ConfigError(
                    f"{self.file}: method {name!r} must be a name of letters, digits and any of _ . + - that does not "
                    "end in _self, and what it changes a mapping of sections, such as "
                    "{transfer: {model: {kd_loss: dist}}}; {} for the default."
                )
            _refuse_what_the_grid_sets(f"{self.file}: method {name!r}", _dotted(delta))
        if isinstance(self.configs, str) or any(not path.is_file() for path in self.config_paths):
            raise ConfigError(
                f"{self.file}: configs is a list of files, their paths relative to it, not {self.configs!r}."
            )

    @property
    def config_paths(self) -> list[Path]:
        """The shared configs, as they can be opened."""
        return [self.file.parent / name for name in self.configs]


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Args:
        method: Its name.
        self_taught: Whether it is taught by a voice, not by the method's own teacher.
        fold: Whose actors test.
        seed: Of everything.
        folder: Of the run.
        args: What `crossmodal.pipeline.fit` is given.
        settings: What that means.
    """

    method: str
    self_taught: bool
    fold: int
    seed: int
    folder: Path
    args: tuple[str, ...] = field(repr=False)
    settings: Config = field(repr=False)

    @property
    def key(self) -> str:
        """Made of all its settings: another setting, another run."""
        return content_key(**{name: value for name, value in self.settings.items() if name not in _NOT_IN_KEY})

    @property
    def is_finished(self) -> bool:
        """Whether it was run to its end with these settings."""
        done = read_json(self.folder / CELL) or {}
        return done.get("key") == self.key and (self.folder / SUMMARY).exists()

    @property
    def about(self) -> Config:
        """What ``cell.json`` holds, for a report to go by."""
        known = {name: getattr(self, name) for name in ("method", "self_taught", "fold", "seed", "key")}
        return {"study": self.folder.parent.parent.name, **known}

    @property
    def makes(self) -> frozenset[str]:
        """Names of what it trains or computes that other runs find in the cache where it is there already."""
        teaching = TeachingSettings(**self.settings.get("teaching", {}))
        configs = {stage: stage_config(self.settings, stage) for stage in ("teacher", "control")}
        made = {content_key(stage=stage, config=config) for stage, config in configs.items()}
        for stage in teaching.stages:  # voice teachers have a seed of their own, so they are not the control
            number = teaching.num_teachers
            for size in ((0, 1), (0, number), (teaching.cross_fit, number)):
                made.add(content_key(taught_by=stage, config=configs[stage], size=size))
        data = {name: value for name, value in self.settings["data"].items() if name != "fold"}
        student = self.settings["transfer"].get("model", {})
        if student.get("front_end") == "ssl":  # each clip is heard once, for all folds
            made.add(content_key(heard=student.get("front_end_kwargs"), data=data))
        if not data.get("face_features") and not data.get("face_embeddings"):  # each face is seen once
            made.add(content_key(seen=self.settings["teacher"].get("model", {}), data=data))
        return frozenset(made)


def read_study(path: Path) -> Study:
    """Read a study's file; where it names another file under ``methods``, it has that study's methods.

    Raises:
        ConfigError: It is not there, is no YAML, has a key that does not exist or a value that cannot be.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"The study {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"The study {path} holds no keys: it needs methods, as in configs/studies/teaching.yaml.")
    known = {name: None for name in Study.__dataclass_fields__ if name != "file"}
    for key in content:
        look_up(f"key of {path}", known, str(key))
    if "methods" not in content:
        raise ConfigError(f"The study {path} has no methods to compare: name them under the key methods.")
    if isinstance(content["methods"], str):
        content["methods"] = read_study(path.parent / content["methods"]).methods
    return Study(file=path, **content)


def plan(study: Study, out: Path, overrides: Sequence[str] = ()) -> list[Cell]:
    """Make the runs of a study, after parsing what each of them is told.

    Args:
        study: See `read_study`.
        out: The study's folder; runs go to its folder ``runs``.
        overrides: Arguments of ``fit`` for all runs; they win over the methods.

    Returns:
        By seed, then fold, then method: after the first seed every method has been on every fold.

    Raises:
        ConfigError: A setting that cannot be, in any of the methods.
    """
    _refuse_what_the_grid_sets(
        "The command line", [word[2:].partition("=")[0] for word in overrides if word.startswith("--")]
    )
    variants = [variant for name in study.methods for variant in _variants(study, name, overrides)]
    return [
        _cell(variant, out / "runs", fold, seed) for seed in study.seeds for fold in study.folds for variant in variants
    ]


@dataclass(frozen=True)
class _Variant:
    """A method, or a method with a voice teacher."""

    method: str
    self_taught: bool
    args: tuple[str, ...]
    settings: Config


def _variants(study: Study, name: str, overrides: Sequence[str]) -> list[_Variant]:
    configs = [word for path in study.config_paths for word in ("--config", str(path))]
    delta = ["--config", json.dumps(study.methods[name])] if study.methods[name] else []
    args = (*configs, *delta, *overrides)
    try:
        settings = parse_settings(args)
        teaching = TeachingSettings(**settings.get("teaching", {}))
        # The student's keys are left out, so that no pretrained network is loaded to check how it is taught.
        model = settings["transfer"].get("model", {})
        TransferTask(**{key: value for key, value in model.items() if key not in STUDENT}, num_classes=8)
    except (ConfigError, ValueError, TypeError) as error:
        raise ConfigError(f"{study.file}: method {name!r}: {error}") from error
    variants = [_Variant(name, False, args, settings)]
    if study.self_distillation and teaching.by != "voice":
        by_voice = merge(settings, {"teaching": {"by": "voice"}})
        variants.append(_Variant(name, True, (*args, "--teaching.by", "voice"), by_voice))
    return variants


def _cell(variant: _Variant, runs: Path, fold: int, seed: int) -> Cell:
    name = f"{variant.method}{'_self' if variant.self_taught else ''}_fold{fold}_seed{seed}"
    places = {"runs": str(runs), "name": name, "seed_everything": seed, "data.fold": fold, "stages": ",".join(STAGES)}
    quiet = ("--trainer.enable_progress_bar", "false")
    args = (*variant.args, *(word for key, value in places.items() for word in (f"--{key}", str(value))), *quiet)
    ours = {"runs": str(runs), "name": name, "seed_everything": seed, "data": {"fold": fold}}
    settings = merge(variant.settings, ours)
    return Cell(variant.method, variant.self_taught, fold, seed, runs / name, args, settings)


def _are_numbers(numbers: Any) -> bool:
    is_list = isinstance(numbers, list | tuple) and bool(numbers)
    return is_list and all(type(one) is int and one >= 0 for one in numbers) and len(set(numbers)) == len(numbers)


def _is_a_name(name: Any) -> bool:
    """Whether it can be part of a folder's name, and be told from a method with a voice teacher."""
    return isinstance(name, str) and bool(re.fullmatch(r"[\w.+-]+", name)) and not name.endswith("_self")


def _dotted(section: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in section.items():
        keys += _dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return keys


def _refuse_what_the_grid_sets(who: str, keys: Sequence[str]) -> None:
    for key in keys:
        if key in _OF_THE_GRID:
            raise ConfigError(f"{who} sets {key}, which a study sets by itself: {_OF_THE_GRID[key]}.")
