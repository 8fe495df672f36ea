"""Command line of crossmodal. This module imports nothing heavy, so that ``--help`` is fast."""

import argparse
import difflib
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmodal.cli import help_texts
from crossmodal.errors import CrossmodalError, UnknownKeyError
from crossmodal.installation import import_errors
from crossmodal.stopping import Terminated, stopped_by_signals
from crossmodal.storage import disk_errors
from crossmodal.version import __version__

_INTERRUPTED, _TERMINATED = 130, 143  # 128 + SIGINT and 128 + SIGTERM, as in shells


@dataclass(frozen=True)
class Command:
    """A command of the command line."""

    summary: str
    # module:NAME_command, imported when the command runs; NAME_arguments adds the arguments to an argparse parser.
    target: str
    usage: str = ""  # help text of a command that parses its own arguments
    takes_keys: bool = False  # True if all other arguments are keys of `fit`

    def parse(self, name: str, args: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments of a command that does not parse its own."""
        description = f"{self.summary.capitalize()}."
        parser = argparse.ArgumentParser(
            f"crossmodal {name}", description=description, allow_abbrev=not self.takes_keys
        )
        self.load("_arguments")(parser)
        if not self.takes_keys:
            return parser.parse_args(args)
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            parser.error("FILE must be the first argument")  # the value of a key would be parsed as FILE
        options, keys = parser.parse_known_args(args)
        options.keys, options.words = keys, list(args)
        return options

    def load(self, suffix: str = "_command") -> Callable[..., Any]:
        """Import a function of the command."""
        module, function = self.target.split(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), function.removesuffix("_command") + suffix)
        return found


COMMANDS: dict[str, Command] = {
    "fit": Command("train a teacher and a student, measure the gain", "crossmodal.cli.fit:fit_command", help_texts.FIT),
    "test": Command(
        "evaluate a model on actors it was not trained on", "crossmodal.cli.test:test_command", help_texts.TEST
    ),
    "predict": Command("predict the emotion of recordings", "crossmodal.cli.predict:predict_command"),
    "demo": Command("open the demo page of a model", "crossmodal.cli.serve:demo_command"),
    "export": Command("export a model to ONNX", "crossmodal.cli.export:export_command"),
    "push": Command("upload a model to the Hugging Face Hub", "crossmodal.cli.push:push_command"),
    "serve": Command("serve a model over HTTP and WebSocket", "crossmodal.cli.serve:serve_command"),
    "study preflight": Command(
        "check whether this teacher can help this student, before fit",
        "crossmodal.cli.study:preflight_command",
        help_texts.PREFLIGHT,
    ),
    "study run": Command(
        "compare teaching methods or applications over folds and seeds",
        "crossmodal.cli.study:run_command",
        takes_keys=True,
    ),
    "study report": Command("write the tables and the report of a study", "crossmodal.cli.study:report_command"),
    "data download": Command(
        "download and verify RAVDESS from Zenodo", "crossmodal.cli.data.download:download_command"
    ),
    "data prepare": Command("decode a corpus into the cache", "crossmodal.cli.data.prepare:prepare_command"),
    "data manifest": Command(
        "write the manifest of a published corpus: CREMA-D, MELD, RAVDESS",
        "crossmodal.cli.data.manifest:manifest_command",
    ),
    "data synthesize": Command(
        "write the synthetic corpus to a folder", "crossmodal.cli.data.prepare:synthesize_command"
    ),
    "data check": Command(
        "check a RAVDESS folder for missing and damaged files", "crossmodal.cli.data.check:check_command"
    ),
    "configs": Command("list the shipped configs, or print one", "crossmodal.cli.configs:configs_command"),
    "env": Command("print versions, devices and folders for a bug report", "crossmodal.cli.env:env_command"),
    "data cache": Command("show or remove stored results", "crossmodal.cli.data.cache:cache_command"),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of the process, and return the exit status.

    It is 0 for success, 1 for an error in data or settings, 2 for an invalid command line or an unknown key, 130 after
    Ctrl-C and 143 after SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is escaped, as in \u65e5
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = list(sys.argv[1:] if args is None else args)
    if args == ["--version"]:
        print(f"crossmodal {__version__}")
        return 0
    if args == ["--print_completion"]:
        from crossmodal.cli.completion import completion_script

        print(completion_script(), end="")
        return 0
    name = next((name for name in COMMANDS if args[: len(name.split())] == name.split()), None)
    if name:
        return _run(name, args[len(name.split()) :])
    is_group = args[:1] in [[name.split()[0]] for name in COMMANDS if " " in name]
    if {*args[is_group:]} <= {"-h", "--help", "help"}:
        print(_overview())
        return 0
    name = " ".join(args[: 1 + is_group])
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    print(f"crossmodal: unknown command {name!r}.{hint}\n\n{_overview()}", file=sys.stderr)
    return 2


def _run(name: str, args: list[str]) -> int:
    command = COMMANDS[name]
    # Own classes are found in the current folder, as with `python -m crossmodal`, and after all installed packages.
    if not {"", str(Path.cwd())} & {*sys.path} and not getattr(sys.flags, "safe_path", False):
        sys.path.append(str(Path.cwd()))
    if command.usage and {"-h", "--help"} & set(args):
        print(command.usage, end="")
        return 0
    if "" in args:  # as a path it would be the current folder
        print(f"crossmodal {name}: an argument is empty. Is a variable of the shell unset?", file=sys.stderr)
        return 2
    try:
        with stopped_by_signals(), disk_errors(), import_errors():
            if command.usage:
                from crossmodal.setting_keys import check_words  # imports PyYAML

                check_words(args, re.findall(r"--(\w+) ", command.usage))
            return int(command.load()(args if command.usage else command.parse(name, args)))
    except CrossmodalError as error:
        print(f"crossmodal {name}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UnknownKeyError) else 1
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"crossmodal {name}: interrupted; rerun the same command to resume", file=sys.stderr)
        return _TERMINATED if isinstance(stop, Terminated) else _INTERRUPTED
    except BrokenPipeError:  # the reader, such as `| head`, closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _overview() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    return (
        "usage: crossmodal COMMAND ...\n\n"
        "Train voice emotion models with a face model as teacher. Start with: crossmodal fit\n\n"
        f"{commands}\n\nHelp on a command: crossmodal COMMAND --help. Version: crossmodal --version. "
        "Tab completion: crossmodal --print_completion."
    )
