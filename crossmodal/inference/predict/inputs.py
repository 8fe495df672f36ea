"""What the words of a command line mean: files, folders, globs, and standard input."""

import glob
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

STANDARD_INPUT = "-"
# What is a recording when it lies in a folder; a file that is asked for by its name may be called anything.
SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".amr", ".au", ".avi", ".caf", ".flac", ".flv", ".m4a", ".m4v", ".mka", ".mkv", ".mov"}
    | {".mp3", ".mp4", ".oga", ".ogg", ".opus", ".w64", ".wav", ".webm", ".wma", ".3gp"}
)


@dataclass(frozen=True)
class Input:
    """One recording that was asked for.

    Args:
        name: As it is told: a path, or ``-``.
        path: Where it lies; nowhere, if it could not be found.
        error: Why it could not.
    """

    name: str
    path: Path | None = None
    error: str | None = None

    @property
    def title(self) -> str:
        """What a person calls it."""
        return "standard input" if self.name == STANDARD_INPUT else self.name


def _lying_at(path: Path) -> Input:
    # A name that is not UTF-8 can be opened, but not printed.
    return Input(os.fsencode(path).decode("utf-8", "backslashreplace"), path)


def find_inputs(words: Sequence[str], folder: Path) -> list[Input]:
    """The recordings that were meant, each once, in order.

    A folder stands for the recordings below it, a glob for what it matches, ``-`` for standard input. What names
    nothing is kept with its reason, to be reported like any file that cannot be read.

    Args:
        words: Of the command line.
        folder: Where what comes in by standard input may lie.
    """
    found: dict[str, Input] = {}
    for word in words:
        for one in [_take_standard_input(folder)] if word == STANDARD_INPUT else _find(word):
            found.setdefault(one.name, one)
    return list(found.values())


def _find(word: str) -> list[Input]:
    path = Path(word)
    if path.is_dir():
        return _in_folder(path) or [Input(word, error="no sound or video file in this folder, nor below it")]
    if path.exists():
        return [_lying_at(path)]
    matches = sorted(map(Path, glob.glob(word, recursive=True)))  # noqa: PTH207 (an absolute glob is welcome)
    files = [one for path in matches for one in (_in_folder(path) if path.is_dir() else [_lying_at(path)])]
    if files:
        return files
    if matches:
        return [Input(word, error="no sound or video file in the folders that it matches")]
    return [Input(word, error="nothing matches it" if glob.has_magic(word) else "there is no such file or folder")]


def _in_folder(folder: Path) -> list[Input]:
    files = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file())
    # What starts with a dot is hidden, such as the ._clip.wav that macOS leaves beside a clip.wav.
    return [_lying_at(path) for path in files if not path.name.startswith(".")]


def _take_standard_input(folder: Path) -> Input:
    """Put standard input into a file: what is read twice, or in another process, has to lie somewhere."""
    if sys.stdin is None or sys.stdin.isatty():
        return Input(STANDARD_INPUT, error="standard input is a terminal: pipe a recording into it, or < FILE")
    path = folder / "standard_input"
    if not path.exists():
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    return Input(STANDARD_INPUT, path)
