"""Keys of `crossmodal fit`, known without importing torch, so that a mistyped key is reported at once."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from crossmodal.errors import UnknownKeyError
from crossmodal.shipped_configs import find_config

_SECTIONS = ("trainer", "teacher.trainer", "transfer.trainer", "finetune.trainer")
_OTHER_WORDS = ("help", "print_config")


@cache
def own_keys() -> tuple[str, ...]:
    """Return the dotted keys of `crossmodal fit`, without those of Lightning's Trainer."""
    sections = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return tuple(f"{section}.{name}".lstrip(".") for section, names in sections.items() for name in names)


def nearest_key(key: str, keys: Iterable[str]) -> str | None:
    """Return the key that is most similar to a mistyped one, by its full name or by its last part."""
    keys = list(keys)
    if near := difflib.get_close_matches(key, keys, 1, 0.8):
        return near[0]
    last_parts = {one.split(".")[-1]: one for one in reversed(keys)}
    near = difflib.get_close_matches(key.split(".")[-1], last_parts, 1, 0.8)
    return last_parts[near[0]] if near else None


def check_words(words: Sequence[str], others: Iterable[str] = ()) -> None:
    """Raise UnknownKeyError for an unknown key in a command line or in a config that it names.

    `others` are the command's own options. Keys of Lightning's Trainer, and values, are left to the parser.
    """
    for word, following in pairwise([*words, ""]):
        name, equals, value = word.partition("=")
        if name == "--config":
            _check_file(value if equals else following)
        elif name.startswith("--") and name[2:] not in (options := [*others, *_OTHER_WORDS]):
            _check_key(name[2:].removesuffix("+"), "", options)


def check_study(path: Path) -> None:
    """Raise UnknownKeyError for an unknown key in a method or application of a study."""
    content = _read(path)
    for variants in (content.get("methods"), content.get("applications")):
        for name, variant in variants.items() if isinstance(variants, Mapping) else ():
            for part in variant if isinstance(variant, list) else [variant]:
                _check_section(part, "", f"{path}: {name}: ")


def _check_file(name: str) -> None:
    if not name.lstrip().startswith("{"):
        _check_section(_read(path := find_config(name)), "", f"{path}: ")


def _read(path: Path) -> Any:
    """Read a YAML file; an invalid one is empty, because the parser reports it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except Exception:  # PyYAML's constructors raise errors of many types
        return {}
    return content if isinstance(content, Mapping) else {}


def _check_section(content: Any, prefix: str, source: str) -> None:
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if _check_key(key := f"{prefix}{name}", source):
            _check_section(value, f"{key}.", source)


def _check_key(key: str, source: str, options: Sequence[str] = ()) -> bool:
    """Return True if a known key is a section of own keys."""
    if any(f"{key}.".startswith(f"{one}.") for one in (*_SECTIONS, *own_keys())):
        return False
    if any(one.startswith(f"{key}.") for one in own_keys()):
        return True
    section, _, name = key.rpartition(".")
    of_trainers = [f"{near}.{name}" for near in difflib.get_close_matches(section, _SECTIONS, 1, 0.7)]
    raise UnknownKeyError(f"{source}unknown key {key}.{suggest_key(key, [*own_keys(), *options, *of_trainers])}")


def suggest_key(key: str, keys: Iterable[str]) -> str:
    """Return a sentence with the nearest key, or with the way to list all keys."""
    near = nearest_key(key, keys)
    return f"\nDid you mean {near}?" if near else "\nTo list all keys: crossmodal fit --print_config."
