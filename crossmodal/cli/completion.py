"""Tab completion of commands and options."""

import argparse
import re
from collections.abc import Mapping

from crossmodal.cli.main import COMMANDS, Command

_OPTION = re.compile(r"(?<![\w.-])--[a-z][\w.-]*\w")
# The words before the current one select its completions; bash then completes names of files.
_SCRIPT = """_crossmodal() {{
  local words=""
  case "${{COMP_WORDS[*]:1:COMP_CWORD-1}}" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _crossmodal crossmodal
"""


def completion_script(commands: Mapping[str, Command] = COMMANDS) -> str:
    """Return a script for bash, and for zsh after ``bashcompinit``, that completes commands and options."""
    groups: dict[str, list[str]] = {}
    for name in commands:
        group, _, rest = name.rpartition(" ")
        groups.setdefault(group, []).append(rest)
    groups[""] += [group for group in groups if group]
    cases = [f'    "{group}") words="{" ".join(words)}" ;;' for group, words in groups.items()]
    cases += [f'    "{name}"*) words="{" ".join(_options(name, one))}" ;;' for name, one in commands.items()]
    return _SCRIPT.format(cases="\n".join(cases))


def _options(name: str, command: Command) -> list[str]:
    from crossmodal.pipeline.settings import build_parser

    parser = argparse.ArgumentParser(name)
    if not command.usage:
        command.load("_arguments")(parser)
    keys = [f"--{key}" for key in build_parser().get_defaults().keys()] if command.usage or command.takes_keys else []  # noqa: SIM118
    return sorted({*_OPTION.findall(command.usage or parser.format_help()), *keys})
