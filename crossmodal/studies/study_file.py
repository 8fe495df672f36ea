"""The file of a study: methods or applications, protocols, folds and seeds."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

from jsonargparse import get_loader

from crossmodal.datasets.splits.protocols import Protocol
from crossmodal.errors import ConfigError
from crossmodal.naming import lookup
from crossmodal.pipeline.settings import Config, check_recursion

# Settings that the grid sets in each run, with the way to change them.
_OF_THE_GRID = {
    "name": "a run is named after its method, fold and seed",
    "runs": "use --out for the folder",
    "stages": "a method always has all stages, because a gain needs a control; an application has those of its file",
    "seed_everything": "set seeds in the file, or --seeds",
    "data.fold": "set folds in the file, or --folds",
}
_OF_THE_LABELLED = {"data.labelled_actors": "set labelled_actors in the file, or --labelled"}
_OF_THE_PROTOCOLS = {
    "data.protocol": "set protocols in the file, or --protocols",
    "data.allow_speaker_leakage": "the protocol random sets it",
}
_LAYERS = "a file for fit --config, or a list of such files and of sections, as in [cnn.yaml, {data: {channel: song}}]"
_SECTIONS = "a mapping of sections such as {transfer: {model: {kd_loss: dist}}}, or {} for the defaults"
_VALUES = {"methods": _SECTIONS, "applications": _LAYERS, "students": _LAYERS}
_NAME = r"[\w.+-]+(?<!_self)", "letters, digits and _ . + -, but not end in _self"  # part of a folder's name
_NAMES = {"methods": _NAME, "applications": _NAME, "students": (r"[a-zA-Z0-9.+-]+", "letters, digits and . + -")}
_Form = tuple[Callable[[Any], bool], str]
_NUMBERS: _Form = (lambda one: type(one) is int and one >= 0, "whole numbers")
_STRINGS: _Form = (lambda one: isinstance(one, str), "strings")
_COUNTS: _Form = (lambda one: one is None or (type(one) is int and one > 0), "numbers from 1, with null for all")
_LISTS = {"folds": _NUMBERS, "seeds": _NUMBERS, "protocols": _STRINGS, "configs": _STRINGS, "labelled_actors": _COUNTS}


@dataclass(frozen=True)
class Study:
    """A study of methods, each with all stages, or of applications, each with its own stages.

    Args:
        file: Path of the file.
        methods: Changes of each method by its name: sections as in a file for ``fit --config``.
        applications: Alternative to methods: each application by its name, a file for ``fit --config`` or a list of
            files and sections, where later ones override earlier ones.
        configs: Files for ``fit --config`` that all methods or applications start from, relative to the study's file.
        protocols: Protocols for each application; empty for the protocol in its settings.
        folds: Folds of the protocol, counted from 0.
        seeds: Seeds; each has its own teacher, control and student.
        self_distillation: Also run every method with a voice teacher, as a second control.
        students: Students that every method teaches, by name: a file for ``fit --config`` or a list of files and
            sections, which override the configs and which a method overrides. Empty for the student of the configs.
        labelled_actors: Numbers of training actors that keep their labels, None for all; every method is run with each.
            Empty for the number in the settings.
        minutes_per_run: Expected minutes of a run, for the estimate before the first run ends.

    Raises:
        ConfigError: If a value is invalid.
    """

    file: Path
    methods: dict[str, Config] = field(default_factory=dict)
    applications: dict[str, Any] = field(default_factory=dict)
    configs: Sequence[str] = ()
    protocols: Sequence[str] = ()
    folds: Sequence[int] = (0,)
    seeds: Sequence[int] = (0, 1, 2)
    self_distillation: bool = False
    students: dict[str, Any] = field(default_factory=dict)
    labelled_actors: Sequence[int | None] = ()
    minutes_per_run: float | None = None

    def __post_init__(self) -> None:
        for name in _LISTS:
            self._check_list(name)
        for protocol in self.protocols:
            lookup(f"protocol of {self.file}", dict.fromkeys(get_args(Protocol)), protocol)
        for path in self.config_paths:
            self._require(path.is_file(), f"configs must be existing files, relative to this file: {path}")
        self._require(not (self.methods and self.applications), "a study has either methods or applications, not both")
        is_bool = isinstance(self.self_distillation, bool)
        self._require(is_bool, f"self_distillation must be true or false, not {self.self_distillation!r}")
        self._require(not self.protocols or self.key == "applications", "protocols requires applications")
        for name in ("self_distillation", "students", "labelled_actors"):
            self._require(not getattr(self, name) or self.key == "methods", f"{name} requires methods")
        self._check_entries(self.key, self.kind)
        self._check_entries("students", "student")
        minutes = self.minutes_per_run
        is_valid = minutes is None or (type(minutes) in (int, float) and 0 < minutes < math.inf)
        self._require(is_valid, f"minutes_per_run must be a positive number, not {minutes!r}")

    @property
    def key(self) -> str:
        """The key of the compared variants: ``methods`` or ``applications``."""
        return "applications" if self.applications else "methods"

    @property
    def kind(self) -> str:
        """The kind of the compared variants: ``method`` or ``application``."""
        return self.key.removesuffix("s")

    @property
    def compared(self) -> Mapping[str, Any]:
        """The compared methods or applications by name."""
        return self.applications or self.methods

    @property
    def config_paths(self) -> list[Path]:
        """The paths of the configs."""
        return [self.file.parent / name for name in self.configs]

    def layers(self, value: Any) -> list[Path | Config]:
        """Return the files and sections of a variant or student, in the order in which they override."""
        parts = value if isinstance(value, list | tuple) else [value]
        return [self.file.parent / part if isinstance(part, str) else dict(part) for part in parts if part]

    def narrow(
        self, names: Sequence[str] | None = None, students: Sequence[str] | None = None, **choices: Any
    ) -> "Study":
        """Return the study with only these methods or applications and students; `choices` replace other lists."""
        for key, kind, chosen in ((self.key, self.kind, names), ("students", "student", students)):
            choices[key] = {name: lookup(f"{kind} of {self.file}", getattr(self, key), name) for name in chosen or ()}
        return replace(self, **{key: value for key, value in choices.items() if value})

    def check_settings(self, source: str, keys: Sequence[str]) -> None:
        """Raise ConfigError for a setting that the study itself sets; the message gives the way to change it."""
        reserved = _OF_THE_GRID | (_OF_THE_PROTOCOLS if self.protocols else {})
        reserved |= _OF_THE_LABELLED if self.labelled_actors else {}
        for key in keys:
            if key in reserved:
                raise ConfigError(f"{source} sets {key}, which the study itself sets: {reserved[key]}.")

    def _require(self, condition: bool, message: str) -> None:
        if not condition:
            raise ConfigError(f"{self.file}: {message}.")

    def _check_list(self, name: str) -> None:
        """Check a list of distinct values; folds and seeds may not be empty."""
        value, (is_form, form) = getattr(self, name), _LISTS[name]
        is_valid = isinstance(value, list | tuple) and all(map(is_form, value)) and len(set(value)) == len(value)
        is_valid = is_valid and (bool(value) or name not in ("folds", "seeds"))
        self._require(is_valid, f"{name} must be a list of distinct {form}, not {value!r}")

    def _check_entries(self, key: str, kind: str) -> None:
        """Check the names and values of the compared variants, or of the students, which may be missing."""
        entries, values, (pattern, allowed) = getattr(self, key), _VALUES[key], _NAMES[key]
        is_valid = isinstance(entries, Mapping) and (bool(entries) or key == "students")
        self._require(is_valid, f"{key} must map each name to {values}")
        for name, value in entries.items():
            is_valid = isinstance(value, Mapping) if key == "methods" else _has_layers(value)
            is_valid = is_valid and isinstance(name, str) and bool(re.fullmatch(pattern, name))
            message = f"invalid {kind} {name!r}. Its name may have {allowed}; its value must be {values}"
            self._require(is_valid, message)
            for part in self.layers(value):
                if isinstance(part, Path):
                    self._require(part.is_file(), f"{kind} {name!r}: file not found: {part}")
                else:
                    keys = [one for one in _dotted(part) if one != "stages" or self.key == "methods"]
                    self.check_settings(f"{self.file}: {kind} {name!r}", keys)


def read_study(path: Path, named_by: Sequence[Path] = ()) -> Study:
    """Read the file of a study; ``methods`` may be the path of another study, whose methods are then used.

    `named_by` are the files that refer to this one, to detect cycles.

    Raises:
        ConfigError: If the file is missing, invalid YAML, has an unknown key or an invalid value, or refers to itself.
    """
    if path.resolve() in named_by:
        raise ConfigError(f"The study {path} takes its methods from itself. Name another file, or list the methods.")
    check_recursion(str(path))
    try:
        content = get_loader("yaml")(path.read_text(encoding="utf-8"))
    except Exception as error:  # YAMLError, or any error of PyYAML's constructors for a malformed scalar: `!!bool x`
        raise ConfigError(f"The study {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"The study {path} has no keys. It needs methods, as in configs/studies/teaching.yaml.")
    for key in content:
        lookup(f"key of {path}", {field.name: None for field in fields(Study) if field.name != "file"}, str(key))
    if not {"methods", "applications"} & content.keys():
        raise ConfigError(f"The study {path} has nothing to compare. List its methods or its applications.")
    if isinstance(content.get("methods"), str):
        content["methods"] = read_study(path.parent / content["methods"], [*named_by, path.resolve()]).methods
    return Study(file=path, **content)


def _has_layers(value: Any) -> bool:
    parts = value if isinstance(value, list | tuple) else [value]
    return bool(parts) and all(isinstance(part, str | Mapping) and part for part in parts)


def _dotted(section: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in section.items():
        keys += _dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return keys
