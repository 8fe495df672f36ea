"""Keys of `crossmodal fit`, known without importing torch, so that a mistyped key is reported at once."""

import contextlib
import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from crossmodal.errors import UnknownKeyError
from crossmodal.shipped_configs import find_config

_TRAINERS = ("trainer", "teacher.trainer", "transfer.trainer", "finetune.trainer")


@cache
def own_keys() -> tuple[str, ...]:
    """Return the dotted keys of `crossmodal fit`, without those of Lightning's Trainer."""
    sections = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return tuple(f"{section}.{name}".lstrip(".") for section, names in sections.items() for name in names)


def suggest_key(key: str, keys: Iterable[str]) -> str:
    """Return a sentence with the most similar key, by its full name or its last part, or with the way to list all."""
    keys = list(keys)
    last_parts = {one.split(".")[-1]: one for one in reversed(keys)}
    near = difflib.get_close_matches(key, keys, 1, 0.8)
    near += [last_parts[one] for one in difflib.get_close_matches(key.split(".")[-1], last_parts, 1, 0.8)]
    return f"\nDid you mean {near[0]}?" if near else "\nTo list all keys: crossmodal fit --print_config."


def check_words(words: Sequence[str], options: Iterable[str] = ()) -> None:
    """Raise UnknownKeyError for an unknown key in a command line or in a config that it names.

    `options` are the command's own. Keys of Lightning's Trainer, and values, are left to the parser.
    """
    options = ("help", "print_config", *options)
    for word, following in pairwise([*words, ""]):
        name, equals, value = word.partition("=")
        if name == "--config" and not (value := value if equals else following).lstrip().startswith("{"):
            path, content = find_config(value), None
            with contextlib.suppress(Exception):  # PyYAML raises errors of many types; the parser reports them
                content = yaml.safe_load(path.read_text(encoding="utf-8"))
            check_keys(content, source=f"{path}: ")
        elif name.startswith("--") and name[2:] not in options:
            check_keys({name[2:].removesuffix("+"): None}, options=options)


def check_keys(content: Any, prefix: str = "", source: str = "", options: Iterable[str] = ()) -> None:
    """Raise UnknownKeyError for an unknown key in nested settings; `source` starts the message."""
    for name, value in content.items() if isinstance(content, Mapping) else ():
        key = f"{prefix}{name}"
        if any(f"{key}.".startswith(f"{one}.") for one in (*_TRAINERS, *own_keys())):
            continue
        if not any(one.startswith(f"{key}.") for one in own_keys()):
            section, _, last = key.rpartition(".")
            trainer = [f"{near}.{last}" for near in difflib.get_close_matches(section, _TRAINERS, 1, 0.7)]
            raise UnknownKeyError(f"{source}unknown key {key}.{suggest_key(key, [*own_keys(), *options, *trainer])}")
        check_keys(value, f"{key}.", source)
