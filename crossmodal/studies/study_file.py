"""The file of a study: methods or applications, protocols, folds and seeds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
_OF_THE_PROTOCOLS = {
    "data.protocol": "set protocols in the file, or --protocols",
    "data.allow_speaker_leakage": "the protocol random sets it",
}


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

    def __post_init__(self) -> None:
        for name in ("folds", "seeds"):
            if not _are_numbers(numbers := getattr(self, name)):
                raise ConfigError(f"{self.file}: {name} must be a list of distinct whole numbers, not {numbers!r}.")
        if not isinstance(self.self_distillation, bool):
            raise ConfigError(f"{self.file}: self_distillation must be true or false, not {self.self_distillation!r}.")
        self._check_protocols()
        compared = getattr(self, self.key)
        if not isinstance(compared, Mapping) or not compared:
            raise ConfigError(f"{self.file}: {self.key} must map each name to {_VALUES[self.key]}.")
        for name in compared:
            self._check(name)
        if not _are_names(self.configs) or any(not path.is_file() for path in self.config_paths):
            raise ConfigError(
                f"{self.file}: configs must be a list of existing files, relative to this file, not {self.configs!r}."
            )

    @property
    def key(self) -> str:
        """The key of the compared variants: ``methods`` or ``applications``."""
        return "applications" if self.applications else "methods"

    @property
    def compared(self) -> Mapping[str, Any]:
        """The methods, or the applications, by name."""
        named: Mapping[str, Any] = getattr(self, self.key)
        return named

    @property
    def config_paths(self) -> list[Path]:
        """The paths of the shared configs."""
        return [self.file.parent / name for name in self.configs]

    def layers(self, name: str) -> list[Path | Config]:
        """Return the files and sections of a method or application, in the order in which they override."""
        value = self.compared[name]
        parts = value if isinstance(value, list | tuple) else [value]
        return [self.file.parent / part if isinstance(part, str) else dict(part) for part in parts if part]

    def check_settings(self, source: str, keys: Sequence[str]) -> None:
        """Check that no setting is one that the study itself sets.

        Raises:
            ConfigError: If there is one; the message gives the way to change it.
        """
        reserved = _OF_THE_GRID | (_OF_THE_PROTOCOLS if self.protocols else {})
        for key in keys:
            if key in reserved:
                raise ConfigError(f"{source} sets {key}, which the study itself sets: {reserved[key]}.")

    def _check(self, name: Any) -> None:
        """Raise ConfigError for an invalid method or application."""
        kind, value = self.key.removesuffix("s"), self.compared[name]
        is_valid = isinstance(value, Mapping) if self.key == "methods" else _is_application(value)
        if not is_valid or not _is_name(name):
            raise ConfigError(
                f"{self.file}: invalid {kind} {name!r}. Its name may have letters, digits and _ . + -, but not end in "
                f"_self; its value must be {_VALUES[self.key]}."
            )
        for part in self.layers(name):
            if isinstance(part, Path):
                if not part.is_file():
                    raise ConfigError(f"{self.file}: {kind} {name!r}: file not found: {part}.")
            else:
                keys = [key for key in _dotted(part) if key != "stages" or self.key == "methods"]
                self.check_settings(f"{self.file}: {kind} {name!r}", keys)

    def _check_protocols(self) -> None:
        if self.methods and self.applications:
            raise ConfigError(f"{self.file}: a study has either methods or applications, not both.")
        if not _are_names(self.protocols) or len(set(self.protocols)) < len(self.protocols):
            raise ConfigError(f"{self.file}: protocols must be a list of distinct names, not {self.protocols!r}.")
        for name in self.protocols:
            lookup(f"protocol of {self.file}", dict.fromkeys(get_args(Protocol)), name)
        for name in ("protocols", "self_distillation"):
            wrong = self.applications if name == "self_distillation" else not self.applications
            if getattr(self, name) and wrong:
                other = "applications" if name == "protocols" else "methods"
                raise ConfigError(f"{self.file}: {name} requires {other}, but this study has {self.key}.")


_VALUES = {
    "methods": "a mapping of sections such as {transfer: {model: {kd_loss: dist}}}, or {} for the defaults",
    "applications": "a file for fit --config, or a list of such files and of sections, such as "
    "[cnn.yaml, {data: {channel: song}}]",
}


def read_study(path: Path, named_by: Sequence[Path] = ()) -> Study:
    """Read the file of a study; ``methods`` may be the path of another study, whose methods are then used.

    Args:
        path: Path of the file.
        named_by: Files that refer to this one, to detect cycles.

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
    known = {name: None for name in Study.__dataclass_fields__ if name != "file"}
    for key in content:
        lookup(f"key of {path}", known, str(key))
    if not {"methods", "applications"} & content.keys():
        raise ConfigError(
            f"The study {path} has nothing to compare. List methods under the key methods, or applications under "
            "applications."
        )
    if isinstance(content.get("methods"), str):
        content["methods"] = read_study(path.parent / content["methods"], [*named_by, path.resolve()]).methods
    return Study(file=path, **content)


def _are_numbers(numbers: Any) -> bool:
    is_list = isinstance(numbers, list | tuple) and bool(numbers)
    return is_list and all(type(one) is int and one >= 0 for one in numbers) and len(set(numbers)) == len(numbers)


def _are_names(names: Any) -> bool:
    return isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)


def _is_name(name: Any) -> bool:
    """Return True if the name is valid in a folder's name and has no suffix of self-distillation."""
    return isinstance(name, str) and bool(re.fullmatch(r"[\w.+-]+", name)) and not name.endswith("_self")


def _is_application(value: Any) -> bool:
    parts = value if isinstance(value, list) else [value]
    return bool(parts) and all(isinstance(part, str | Mapping) and part for part in parts)


def _dotted(section: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in section.items():
        keys += _dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return keys
