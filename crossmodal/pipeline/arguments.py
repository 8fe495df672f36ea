"""Settings of a run from Python, as the words of a command line."""

import inspect
import json
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypedDict

from crossmodal.errors import ConfigError
from crossmodal.naming import suggestion
from crossmodal.own_code import class_path_of
from crossmodal.pipeline.settings import Config, merge

ConfigLike = str | Path | Mapping[str, Any]


class FitSettings(TypedDict, total=False):
    """Keyword arguments of `crossmodal.fit` and of other functions that train; None means the default.

    The sections ``data``, ``trainer``, ``teacher``, ``teaching``, ``transfer`` and ``finetune`` are nested as in a YAML
    config, such as ``trainer={"max_epochs": 5}``; a class stands for its path. The rest are short forms.

    Attributes:
        data_root: ``data.root``: folder of the extracted RAVDESS files.
        manifest: ``data.manifest``: table of another corpus.
        face_features: ``data.face_features``: features to use instead of pixels.
        fold: ``data.fold``: test fold, counted from 0.
        seed: ``seed_everything``: seed of the run.
        name: Name of the run.
        runs: Folder of all runs.
        stages: Stages to run, as a sequence or separated by commas.
        resume: Whether to fail if there is no run to resume.
    """

    data_root: str | Path | None
    manifest: str | Path | None
    face_features: str | Path | None
    fold: int | None
    seed: int | None
    name: str | None
    runs: str | Path | None
    stages: str | Sequence[str] | None
    resume: bool | None
    data: Mapping[str, Any]
    trainer: Mapping[str, Any]
    teacher: Mapping[str, Any]
    teaching: Mapping[str, Any]
    transfer: Mapping[str, Any]
    finetune: Mapping[str, Any]


_KEYS = {
    "data_root": "data.root",
    "manifest": "data.manifest",
    "face_features": "data.face_features",
    "fold": "data.fold",
    "seed": "seed_everything",
}


def command_words(config: ConfigLike | Sequence[ConfigLike], settings: Mapping[str, Any]) -> list[str]:
    """Return configs and keyword arguments as words for `parse_settings`; keyword arguments override configs.

    Raises:
        ConfigError: If a keyword argument does not exist or a value is not a JSON value, a path or a class.

    Examples:
        >>> command_words("dense", {"fold": 1})
        ['--config', 'dense', '--config', '{"data": {"fold": 1}}']
    """
    known = FitSettings.__annotations__
    for name in settings.keys() - known.keys():
        raise ConfigError(f"Unknown argument {name!r}. Known: {', '.join(known)}.{suggestion(name, known)}")
    given = (_nest(name, value) for name, value in settings.items() if value is not None)
    keywords: Config = reduce(merge, given, {})
    layers = [config] if isinstance(config, str | Path | Mapping) else list(config)
    texts = [_text(layer) for layer in (*layers, *([keywords] if keywords else []))]
    return [word for text in texts for word in ("--config", text)]


def _nest(name: str, value: Any) -> Config:
    if name == "stages" and not isinstance(value, str):
        value = ",".join(value)
    for part in reversed(_KEYS.get(name, name).split(".")):
        value = {part: value}
    nested: Config = value
    return nested


def _text(config: ConfigLike) -> str:
    return json.dumps(dict(config), default=_json_value) if isinstance(config, Mapping) else str(config)


def _json_value(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    if inspect.isclass(value) or inspect.isfunction(value):
        return class_path_of(value)
    raise ConfigError(
        f"{value!r:.100} is not a setting: give a number, text, list, dict, path or class. Pass a part of your own by "
        "its class."
    )
