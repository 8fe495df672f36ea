"""Generate the reference pages from the code: the help of every command, and every key of `crossmodal fit`.

Run ``python docs/generate_reference.py`` after a change of either. A test compares the pages with the code.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin
from unittest import mock

import docstring_parser
import yaml
from jsonargparse import ArgumentParser

from crossmodal.cli.main import COMMANDS, main
from crossmodal.pipeline import settings
from crossmodal.tasks import BaseTask

DOCS = Path(__file__).parent
COMMANDS_PAGE = DOCS / "reference" / "commands.md"
CONFIGURATION_PAGE = DOCS / "reference" / "configuration.md"

_HELP = re.compile(r"(<!-- help: (?P<command>[a-z ]*?) ?-->\n```text\n)(?P<text>.*?)(```)", re.DOTALL)
_TRAINERS = ("trainer", "teacher.trainer", "transfer.trainer", "finetune.trainer")
_SECTIONS = {
    "": ("The run", "Keys without a section."),
    "data": ("`data`", "The corpus and its splits, for all stages."),
    "teacher.model": (
        "`teacher.model`",
        "The face model. `in_features` is set automatically if stored embeddings or face features are its input.",
    ),
    "transfer.model": (
        "`transfer.model`",
        "The voice model and its training with the teacher. `finetune` and the control use the voice model's keys "
        "(`front_end` to `sample_rate`) of this section; the control also uses its recipe (`lr` to `label_smoothing`).",
    ),
    "finetune.model": ("`finetune.model`", "The recipe of the last stage."),
}
_HEAD = """\
# Configuration

This page lists every key of `crossmodal fit`. Set a key on the command line as `--key value`, or in a YAML file for
`--config`, where dots become sections:

```yaml
data: {root: ravdess, fold: 1}
transfer: {model: {encoder: cnn}, trainer: {max_epochs: 30}}
```

Files and arguments are merged in the order of the command line; later values win. `null` means none. `--print_config`
prints every key with its value, also those of the Trainer.

Without `data.root` and `data.manifest`, the synthetic corpus has its own defaults. They are shown beside the others.
`docs/generate_reference.py` writes this page.
"""
_TRAINER_HEAD = """\
## `trainer`, and each stage's own

`trainer` takes every argument of
[Lightning's Trainer](https://lightning.ai/docs/pytorch/stable/common/trainer.html#trainer-class-api) and applies to all
stages. `teacher.trainer`, `transfer.trainer` and `finetune.trainer` take the same arguments and override it. The
control trains for as many epochs as `transfer` and `finetune` together, with the other arguments of `transfer.trainer`.
Callbacks are set by the command. `trainer.logger` creates one logger for the whole run: `wandb`, `true` for a CSV file,
or the class path of a logger.
Defaults that differ from the Trainer's:

| key | default |
|---|---|
"""


def help_text(command: str) -> str:
    """Return the output of ``crossmodal COMMAND --help``, 100 columns wide; the overview for an empty command."""
    text = io.StringIO()
    environment = mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"})
    with environment, contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([*command.split(), "--help"])
    return text.getvalue()


def helps_on_page(page: str) -> dict[str, str]:
    """Return the help texts of a page, by command."""
    return {match["command"]: match["text"] for match in _HELP.finditer(page)}


def fill_helps(page: str) -> str:
    """Insert the current help texts after the ``<!-- help: COMMAND -->`` markers of a page."""
    return _HELP.sub(lambda match: match[1] + help_text(match["command"]).rstrip() + "\n" + match[4], page)


def configuration_page() -> str:
    """Return the page of all keys."""
    parser = settings.build_parser()
    ours, synthetic = _overlay("defaults.yaml"), _overlay("synthetic.yaml")
    recipe = {entry.arg_name: _one_line(entry.description) for entry in _documented(BaseTask)}
    lines = [_HEAD]
    for section, (title, text) in _SECTIONS.items():
        lines += [f"## {title}", "", text, "", "| key | type | default | meaning |", "|---|---|---|---|"]
        for key, action in _actions(parser, section):
            default = _default(ours.get(key, action.default), synthetic.get(key))
            name = key.rpartition(".")[2]
            meaning = recipe[name] if name in recipe and "BaseTask" in action.help else _one_line(action.help)
            lines.append(f"| `{key}` | {_type_name(getattr(action, '_typehint', str))} | {default} | {meaning} |")
        lines.append("")
    lines.append(_TRAINER_HEAD.rstrip("\n"))
    for key in sorted({*ours, *synthetic}):
        if key.rpartition(".")[0] in _TRAINERS:
            lines.append(f"| `{key}` | {_default(ours.get(key), synthetic.get(key))} |")
    return "\n".join(lines) + "\n"


def _actions(parser: ArgumentParser, section: str) -> Iterator[tuple[str, Any]]:
    for action in parser._actions:
        key = action.dest
        is_key = hasattr(action, "_typehint")
        if is_key and key.rpartition(".")[0] == section:
            yield key, action


def _overlay(name: str) -> dict[str, Any]:
    """Return the settings of one of the package's own YAML files, by dotted key."""
    content = yaml.safe_load((Path(settings.__file__).parent / name).read_text(encoding="utf-8"))
    return dict(_flatten(content))


def _flatten(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _documented(described: type) -> list[docstring_parser.common.DocstringParam]:
    return docstring_parser.parse(described.__doc__ or "").params


def _default(value: Any, on_synthetic: Any) -> str:
    shown = f"`{_yaml(value)}`"
    return (
        shown
        if on_synthetic is None or on_synthetic == value
        else f"{shown}; synthetic corpus: `{_yaml(on_synthetic)}`"
    )


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("...").strip()


def _one_line(text: str | None) -> str:
    """Convert docstring markup to Markdown for a table cell."""
    return " ".join((text or "").replace("``", "`").split()).replace("|", "\\|").replace("<", "&lt;")


def _type_name(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(_type_name(one) for one in inner)
    if hint is type(None):
        return "null"
    names = {str: "text", int: "whole number", float: "number", bool: "true, false", dict: "mapping"}
    return names.get(origin or hint, str(getattr(hint, "__name__", hint)))


if __name__ == "__main__":
    COMMANDS_PAGE.write_text(fill_helps(COMMANDS_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    CONFIGURATION_PAGE.write_text(configuration_page(), encoding="utf-8")
    missing = {*COMMANDS} - helps_on_page(COMMANDS_PAGE.read_text(encoding="utf-8")).keys()
    print(
        f"Written: {COMMANDS_PAGE}, {CONFIGURATION_PAGE}." + (f" No place for: {sorted(missing)}." if missing else "")
    )
