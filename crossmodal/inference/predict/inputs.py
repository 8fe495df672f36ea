"""Find the recordings of a command line: files, folders, globs and standard input."""

import glob
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossmodal.storage import paths_below

STANDARD_INPUT = "-"
# Suffixes of recordings in a folder. A file that is named on the command line may have any suffix.
SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".amr", ".au", ".avi", ".caf", ".flac", ".flv", ".m4a", ".m4v", ".mka", ".mkv", ".mov"}
    | {".mp3", ".mp4", ".oga", ".ogg", ".opus", ".w64", ".wav", ".webm", ".wma", ".3gp"}
)


@dataclass(frozen=True)
class Input:
    """One recording of the command line; without a path it has the error for which it was not found."""

    name: str
    path: Path | None = None
    error: str | None = None
    plot: Path | None = None

    @property
    def title(self) -> str:
        """Name in messages."""
        return "standard input" if self.name == STANDARD_INPUT else self.name


def _input_from_path(path: Path) -> Input:
    # A name that is not UTF-8 can be opened, but not printed.
    return Input(os.fsencode(path).decode("utf-8", "backslashreplace"), path)


def find_inputs(words: Sequence[str], folder: Path) -> list[Input]:
    """Find the recordings of a command line, each once, in order: files, folders, globs, and ``-`` for standard input.

    Standard input is copied to `folder`. An argument that matches nothing becomes an input with an error.
    """
    found: dict[str, Input] = {}
    for word in words:
        for one in [_take_standard_input(folder)] if word == STANDARD_INPUT else _find(word):
            found.setdefault(one.name, one)
    return list(found.values())


def _find(word: str) -> list[Input]:
    path = Path(word)
    if path.is_dir():
        return _in_folder(path) or [Input(word, error="there is no audio or video file in this folder or below it")]
    if path.exists():
        return [_input_from_path(path)]
    matches = _without_loops(map(Path, glob.glob(word, recursive=True)))  # noqa: PTH207 (the glob may be absolute)
    files = [one for path in matches for one in (_in_folder(path) if path.is_dir() else [_input_from_path(path)])]
    if files:
        return files
    if matches:
        return [Input(word, error="there is no audio or video file in the matching folders")]
    return [Input(word, error="no file matches it" if glob.has_magic(word) else "there is no such file or folder")]


def _without_loops(paths: Iterable[Path]) -> list[Path]:
    """Sort paths, and keep the shortest of those that a loop of links repeats."""
    kept: dict[tuple[str, str], Path] = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        kept.setdefault((os.path.realpath(path.parent), path.name), path)
    return sorted(kept.values())


def _in_folder(folder: Path) -> list[Input]:
    files = (path for path in paths_below(folder) if path.suffix.lower() in SUFFIXES and path.is_file())
    # Skip hidden files.
    return [_input_from_path(path) for path in files if not path.name.startswith(".")]


def _take_standard_input(folder: Path) -> Input:
    """Copy standard input to a file, so that it can be read twice or in another process."""
    if sys.stdin is None or sys.stdin.isatty():
        return Input(STANDARD_INPUT, error="standard input is a terminal: pipe a recording into it, or use < FILE")
    path = folder / "standard_input"
    if not path.exists():
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    return Input(STANDARD_INPUT, path)
