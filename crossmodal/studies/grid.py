"""The grid of a study: its runs, students x labelled actors x methods or applications x protocols, x folds x seeds."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

from crossmodal.errors import ConfigError, UnknownKeyError
from crossmodal.models import AudioClassifier
from crossmodal.pipeline.settings import STAGES, STUDENT, Config, merge, parse_settings, stage_names
from crossmodal.pipeline.teaching import TeachingSettings
from crossmodal.storage import content_key, read_json
from crossmodal.studies.study_file import Study
from crossmodal.tasks import TransferTask

CELL, SUMMARY = "cell.json", "summary.json"
# Settings that do not change the result.
_NOT_IN_KEY = ("name", "runs")


@dataclass(frozen=True)
class Cell:
    """One run of the grid: of a kind, ``method`` or ``application``, and its name.

    `self_taught` is True if a voice teacher replaces the method's own; `settings` are the parsed `args` of ``fit``, and
    `axes` the ``student`` and the number of ``labelled_actors``, if the study has these axes.
    """

    kind: str
    method: str
    self_taught: bool
    fold: int
    seed: int
    folder: Path
    args: tuple[str, ...] = field(repr=False)
    settings: Config = field(repr=False)
    axes: Config = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """A key made of all settings that can change the result."""
        return content_key(**{name: value for name, value in self.settings.items() if name not in _NOT_IN_KEY})

    @property
    def is_finished(self) -> bool:
        """True if the run has finished with these settings."""
        about = read_json(self.folder / CELL) or {}
        return about.get("key") == self.key and (self.folder / SUMMARY).exists()

    @property
    def stages(self) -> list[str]:
        """The stages to train."""
        return stage_names(self.settings["stages"])

    @property
    def about(self) -> Config:
        """The content of ``cell.json``, which reports use."""
        about = {self.kind: self.method, "fold": self.fold, "seed": self.seed, "key": self.key}
        if self.kind == "method":
            about |= {"self_taught": self.self_taught, **self.axes}
        else:
            model, defaults = self.settings["transfer"].get("model", {}), inspect.signature(AudioClassifier).parameters
            about |= {name: model.get(name, defaults[name].default) for name in ("front_end", "encoder")}
        return {"study": self.folder.parent.parent.name, **about}


def plan(study: Study, out: Path, overrides: Sequence[str] = ()) -> list[Cell]:
    """Return the runs of a study in the folder `out`; `overrides` are arguments of ``fit`` for all of them.

    They are by seed, then student, number of labelled actors, method, protocol and fold: the first seed covers the
    whole grid, and neighbours, which may run at the same time, seldom need the same teacher and control.
    """
    keys = [word[2:].partition("=")[0] for word in overrides if word.startswith("--")]
    study.check_settings("The command line", keys)
    students = [
        (student, [variant for name in study.compared for variant in _variants(study, name, student, overrides)])
        for student in study.students or [""]
    ]
    return [
        _cell(study, variant, out / "runs", {**({"student": student} if student else {}), **labelled}, place)
        for seed in study.seeds
        for student, variants in students
        for labelled in [{"labelled_actors": number} for number in study.labelled_actors] or [{}]
        for variant in variants
        for place in product(study.protocols or [""], study.folds, [seed])
    ]


_Variant = tuple[str, bool, tuple[str, ...], Config]  # name, with a voice teacher, arguments of fit, settings


def _variants(study: Study, name: str, student: str, overrides: Sequence[str]) -> list[_Variant]:
    """Return a method or application, and the method with a voice teacher if the study asks for it."""
    of_student = study.layers(study.students[student]) if student else []
    layers = [*study.config_paths, *of_student, *study.layers(study.compared[name])]
    files = [str(layer) if isinstance(layer, Path) else json.dumps(layer) for layer in layers]
    args = (*(word for file in files for word in ("--config", file)), *overrides)
    try:
        settings = parse_settings(args)
        if settings["data"].get("labelled_actors"):
            study.check_settings("A file of the study", ["data.labelled_actors"])
        teaching = TeachingSettings(**settings.get("teaching", {}))
        transfer = TransferTask(**_without_networks(settings["transfer"].get("model", {})), num_classes=8)
    except (ConfigError, ValueError, TypeError) as error:
        kind = UnknownKeyError if isinstance(error, UnknownKeyError) else ConfigError
        source = f"{study.kind} {name!r}" + (f" with student {student!r}" if student else "")
        raise kind(f"{study.file}: {source}: {error}") from error
    variants: list[_Variant] = [(name, False, args, settings)]
    if study.self_distillation and teaching.by != "voice" and transfer.teaching.terms:
        by_voice = merge(settings, {"teaching": {"by": "voice"}})
        variants.append((name, True, (*args, "--teaching.by", "voice"), by_voice))
    return variants


def _cell(study: Study, variant: _Variant, runs: Path, axes: Config, place: tuple[str, int, int]) -> Cell:
    (method, self_taught, args, settings), (protocol, fold, seed) = variant, place
    labelled = axes.get("labelled_actors")
    parts = [method, "self" if self_taught else "", axes.get("student", ""), protocol]
    parts += [f"labelled{labelled or 'all'}" if "labelled_actors" in axes else "", f"fold{fold}_seed{seed}"]
    name = "_".join(filter(None, parts))
    data: Config = {"fold": fold}
    if protocol:
        data |= {"protocol": protocol, "allow_speaker_leakage": protocol == "random"}
    if labelled:
        data["labelled_actors"] = labelled
    stages = ",".join(STAGES) if study.kind == "method" else settings["stages"]
    options = {"runs": str(runs), "name": name, "seed_everything": seed, "stages": stages}
    words = options | {f"data.{key}": str(value).lower() for key, value in data.items()}
    words["trainer.enable_progress_bar"] = "false"
    args = (*args, *(word for key, value in words.items() for word in (f"--{key}", str(value))))
    settings = merge(settings, {**options, "data": data})
    return Cell(study.kind, method, self_taught, fold, seed, runs / name, args, settings, axes)


def _without_networks(model: Config) -> Config:
    """Return the task arguments without those that could load a pretrained network, which the check does not need."""
    kept = {"front_end", "front_end_kwargs"} if model.get("front_end") != "pretrained" else set()
    return {key: value for key, value in model.items() if key not in STUDENT or key in kept}
