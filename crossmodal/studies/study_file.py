"""What a study's file says: what is compared, and over which protocols, folds and seeds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from jsonargparse import get_loader

from crossmodal.datasets.splits.protocols import Protocol
from crossmodal.errors import ConfigError
from crossmodal.naming import look_up
from crossmodal.pipeline.settings import Config

# What the grid sets in each run, with what says it instead.
_OF_THE_GRID = {
    "name": "a run is named by its method, fold and seed",
    "runs": "the folder is --out",
    "stages": "a method has all stages, for there is no gain without a control, and an application those in the file",
    "seed_everything": "seeds are in the file, or --seeds",
    "data.fold": "folds are in the file, or --folds",
}
_OF_THE_PROTOCOLS = {
    "data.protocol": "protocols are in the file, or --protocols",
    "data.allow_speaker_leakage": "who names the protocol random has allowed it",
}


@dataclass(frozen=True)
class Study:
    """What a study's file says: methods, all stages of each; or applications, each with stages of its own.

    Args:
        file: Where it stands.
        methods: What each method changes, by its name: sections as in a file for ``fit --config``.
        applications: In place of methods, what each application is, by its name: a file for ``fit --config``, or a
            list of such files and of sections, each laid over those before.
        configs: Files for ``fit --config``, below all methods or applications. Paths are relative to the study's file.
        protocols: Under which each application is run; none for the one that its settings name.
        folds: Of the protocol, counted from 0.
        seeds: Each makes a teacher, a control and a student of its own.
        self_distillation: Whether every method is also run with a voice teacher, the second control.

    Raises:
        ConfigError: A value that cannot be.
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
                raise ConfigError(f"{self.file}: {name} is a list of different whole numbers, not {numbers!r}.")
        if not isinstance(self.self_distillation, bool):
            raise ConfigError(f"{self.file}: self_distillation is true or false, not {self.self_distillation!r}.")
        self._check_protocols()
        compared = getattr(self, self.key)
        if not isinstance(compared, Mapping) or not compared:
            raise ConfigError(f"{self.file}: {self.key} is a mapping from a name to what {_MEANING[self.key]}.")
        for name in compared:
            self._check(name)
        if not _are_names(self.configs) or any(not path.is_file() for path in self.config_paths):
            raise ConfigError(
                f"{self.file}: configs is a list of files, their paths relative to it, not {self.configs!r}."
            )

    @property
    def key(self) -> str:
        """What is compared: ``methods`` or ``applications``."""
        return "applications" if self.applications else "methods"

    @property
    def compared(self) -> Mapping[str, Any]:
        """The methods, or the applications, by name."""
        named: Mapping[str, Any] = getattr(self, self.key)
        return named

    @property
    def config_paths(self) -> list[Path]:
        """The shared configs, as they can be opened."""
        return [self.file.parent / name for name in self.configs]

    def layers(self, name: str) -> list[Path | Config]:
        """What is laid over the shared configs for a method or an application, in order."""
        asked = self.compared[name]
        parts = asked if isinstance(asked, list | tuple) else [asked]
        return [self.file.parent / part if isinstance(part, str) else dict(part) for part in parts if part]

    def refuse_what_is_set(self, who: str, keys: Sequence[str]) -> None:
        """Refuse settings that are the study's own.

        Raises:
            ConfigError: Names the setting, and what says it instead.
        """
        ours = _OF_THE_GRID | (_OF_THE_PROTOCOLS if self.protocols else {})
        for key in keys:
            if key in ours:
                raise ConfigError(f"{who} sets {key}, which a study sets by itself: {ours[key]}.")

    def _check(self, name: Any) -> None:
        """Refuse a method or an application that cannot be."""
        kind, asked = self.key.removesuffix("s"), self.compared[name]
        is_one = isinstance(asked, Mapping) if self.key == "methods" else _is_an_application(asked)
        if not is_one or not _is_a_name(name):
            raise ConfigError(
                f"{self.file}: {kind} {name!r} must be a name of letters, digits and any of _ . + - that does not "
                f"end in _self, and what it {_MEANING[self.key]}."
            )
        for part in self.layers(name):
            if isinstance(part, Path):
                if not part.is_file():
                    raise ConfigError(f"{self.file}: {kind} {name!r}: there is no file {part}.")
            else:
                keys = [key for key in _dotted(part) if key != "stages" or self.key == "methods"]
                self.refuse_what_is_set(f"{self.file}: {kind} {name!r}", keys)

    def _check_protocols(self) -> None:
        if self.methods and self.applications:
            raise ConfigError(f"{self.file}: a study compares methods or applications, not both.")
        if not _are_names(self.protocols) or len(set(self.protocols)) < len(self.protocols):
            raise ConfigError(f"{self.file}: protocols is a list of different names, not {self.protocols!r}.")
        for name in self.protocols:
            look_up(f"protocol of {self.file}", dict.fromkeys(get_args(Protocol)), name)
        for name in ("protocols", "self_distillation"):
            wrong = self.applications if name == "self_distillation" else not self.applications
            if getattr(self, name) and wrong:
                other = "applications" if name == "protocols" else "methods"
                raise ConfigError(f"{self.file}: {name} goes with {other}; this study has {self.key}.")


_MEANING = {
    "methods": "changes, a mapping of sections such as {transfer: {model: {kd_loss: dist}}}; {} for the default",
    "applications": "is: a file for fit --config, or a list of such files and of sections, such as "
    "[cnn.yaml, {data: {channel: song}}]",
}


def read_study(path: Path, named_by: Sequence[Path] = ()) -> Study:
    """Read a study's file; where it names another file under ``methods``, it has that study's methods.

    Args:
        path: The file.
        named_by: The files that have named it.

    Raises:
        ConfigError: It is not there, is no YAML, has a key that does not exist or a value that cannot be, or names
            itself.
    """
    if path.resolve() in named_by:
        raise ConfigError(f"The study {path} takes its methods from itself: name another file, or the methods.")
    try:
        content = get_loader("yaml")(path.read_text(encoding="utf-8"))
    except Exception as error:  # YAMLError, and what PyYAML's constructors raise for a malformed scalar: `!!bool x`
        raise ConfigError(f"The study {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"The study {path} holds no keys: it needs methods, as in configs/studies/teaching.yaml.")
    known = {name: None for name in Study.__dataclass_fields__ if name != "file"}
    for key in content:
        look_up(f"key of {path}", known, str(key))
    if not {"methods", "applications"} & content.keys():
        raise ConfigError(
            f"The study {path} has no methods to compare: name them under the key methods, or applications under "
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


def _is_a_name(name: Any) -> bool:
    """Whether it can be part of a folder's name, and be told from a method with a voice teacher."""
    return isinstance(name, str) and bool(re.fullmatch(r"[\w.+-]+", name)) and not name.endswith("_self")


def _is_an_application(asked: Any) -> bool:
    parts = asked if isinstance(asked, list) else [asked]
    return bool(parts) and all(isinstance(part, str | Mapping) and part for part in parts)


def _dotted(section: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in section.items():
        keys += _dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return keys
