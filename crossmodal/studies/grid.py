"""The grid of a study: the runs that its file asks for, methods x folds x seeds or applications x protocols x ..."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from crossmodal.errors import ConfigError
from crossmodal.models import AudioClassifier
from crossmodal.pipeline.settings import STAGES, STUDENT, Config, merge, parse_settings, stage_config
from crossmodal.pipeline.teaching import TeachingSettings
from crossmodal.storage import content_key, read_json
from crossmodal.studies.study_file import Study
from crossmodal.tasks import TransferTask

CELL, SUMMARY = "cell.json", "summary.json"
# Where a run happens and how it is shown, but not what comes out of it.
_NOT_IN_KEY = ("name", "runs")


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Args:
        kind: What a study of it compares: ``method`` or ``application``.
        method: The method's or application's name.
        self_taught: Whether it is taught by a voice, not by the method's own teacher.
        fold: Whose actors test.
        seed: Of everything.
        folder: Of the run.
        args: What `crossmodal.pipeline.fit` is given.
        settings: What that means.
    """

    kind: str
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
    def stages(self) -> list[str]:
        """What is trained."""
        return [stage for stage in STAGES if stage in self.settings["stages"].split(",")]

    @property
    def about(self) -> Config:
        """What ``cell.json`` holds, for a report to go by."""
        known = {self.kind: self.method, "fold": self.fold, "seed": self.seed, "key": self.key}
        if self.kind == "method":
            known |= {"self_taught": self.self_taught}
        else:
            model = self.settings["transfer"].get("model", {})
            known |= {name: model.get(name, _default(name)) for name in ("front_end", "encoder")}
        return {"study": self.folder.parent.parent.name, **known}

    @property
    def makes(self) -> frozenset[str]:
        """Names of what it trains or computes that other runs find in the cache where it is there already."""
        teaching = TeachingSettings(**self.settings.get("teaching", {}))
        configs = {stage: stage_config(self.settings, stage) for stage in ("teacher", "control")}
        made = {content_key(stage=stage, config=config) for stage, config in configs.items() if stage in self.stages}
        if "transfer" in self.stages:  # voice teachers have a seed of their own, so they are not the control
            number = teaching.num_teachers
            sizes = ((0, 1), (0, number), (teaching.cross_fit, number))
            asked = product(teaching.stages, sizes)
            made |= {content_key(taught_by=stage, config=configs[stage], size=size) for stage, size in asked}
        data = {name: value for name, value in self.settings["data"].items() if name not in ("fold", *_SPLITS)}
        student = self.settings["transfer"].get("model", {})
        if student.get("front_end") == "ssl" and self.stages != ["teacher"]:  # each clip is heard once, for all folds
            made.add(content_key(heard=student.get("front_end_kwargs"), data=data))
        pixels = not data.get("face_features") and not data.get("face_embeddings")
        if pixels and "teacher" in self.stages:  # each face is seen once
            made.add(content_key(seen=self.settings["teacher"].get("model", {}), data=data))
        return frozenset(made)


# How clips are divided changes nothing that is computed of a clip.
_SPLITS = ("protocol", "num_folds", "allow_speaker_leakage")


def plan(study: Study, out: Path, overrides: Sequence[str] = ()) -> list[Cell]:
    """Make the runs of a study, after parsing what each of them is told.

    Args:
        study: See `crossmodal.studies.study_file.read_study`.
        out: The study's folder; runs go to its folder ``runs``.
        overrides: Arguments of ``fit`` for all runs; they win over the methods.

    Returns:
        By seed, then fold, then protocol, then method: after the first seed every method has been on every fold.

    Raises:
        ConfigError: A setting that cannot be, in any of the methods.
    """
    study.refuse_what_is_set(
        "The command line", [word[2:].partition("=")[0] for word in overrides if word.startswith("--")]
    )
    variants = [variant for name in study.compared for variant in _variants(study, name, overrides)]
    protocols = study.protocols or [""]
    return [
        _cell(variant, out / "runs", protocol, fold, seed)
        for seed in study.seeds
        for fold in study.folds
        for protocol in protocols
        for variant in variants
    ]


@dataclass(frozen=True)
class _Variant:
    """A method, a method with a voice teacher, or an application."""

    kind: str
    method: str
    self_taught: bool
    args: tuple[str, ...]
    settings: Config


def _variants(study: Study, name: str, overrides: Sequence[str]) -> list[_Variant]:
    kind = study.key.removesuffix("s")
    layers = [*study.config_paths, *study.layers(name)]
    files = [str(layer) if isinstance(layer, Path) else json.dumps(layer) for layer in layers]
    args = (*(word for file in files for word in ("--config", file)), *overrides)
    try:
        settings = parse_settings(args)
        teaching = TeachingSettings(**settings.get("teaching", {}))
        transfer = TransferTask(**_without_networks(settings["transfer"].get("model", {})), num_classes=8)
    except (ConfigError, ValueError, TypeError) as error:
        raise ConfigError(f"{study.file}: {kind} {name!r}: {error}") from error
    variants = [_Variant(kind, name, False, args, settings)]
    if study.self_distillation and teaching.by != "voice" and transfer.teaching.terms:
        by_voice = merge(settings, {"teaching": {"by": "voice"}})
        variants.append(_Variant(kind, name, True, (*args, "--teaching.by", "voice"), by_voice))
    return variants


def _cell(variant: _Variant, runs: Path, protocol: str, fold: int, seed: int) -> Cell:
    what = f"{variant.method}{'_self' if variant.self_taught else ''}{f'_{protocol}' if protocol else ''}"
    name = f"{what}_fold{fold}_seed{seed}"
    stages = ",".join(STAGES) if variant.kind == "method" else variant.settings["stages"]
    data: Config = {"fold": fold}
    if protocol:
        data |= {"protocol": protocol, "allow_speaker_leakage": protocol == "random"}
    places = {"runs": str(runs), "name": name, "seed_everything": seed, "stages": stages}
    places |= {f"data.{key}": str(value).lower() for key, value in data.items()}
    quiet = ("--trainer.enable_progress_bar", "false")
    args = (*variant.args, *(word for key, value in places.items() for word in (f"--{key}", str(value))), *quiet)
    settings = merge(variant.settings, {"runs": str(runs), "name": name, "seed_everything": seed, "data": data})
    settings["stages"] = stages
    return Cell(variant.kind, variant.method, variant.self_taught, fold, seed, runs / name, args, settings)


def _without_networks(model: Config) -> Config:
    """How a student is taught, without what of the student may be a pretrained network: none is loaded to check it."""
    kept = {"front_end", "front_end_kwargs"} if model.get("front_end") != "ssl" else set()
    return {key: value for key, value in model.items() if key not in STUDENT or key in kept}


def _default(name: str) -> str:
    default: str = inspect.signature(AudioClassifier).parameters[name].default
    return default
