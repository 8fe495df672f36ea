"""`crossmodal predict`: files, folders and globs in; a table, JSON or CSV out."""

import argparse
import csv
import glob
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from crossmodal.errors import MediaError
from crossmodal.inference.recognizer import EmotionRecognizer, Prediction
from crossmodal.progress import progress_bar

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3", ".m4a", ".mp4", ".mov", ".mkv", ".webm"})


@dataclass(frozen=True)
class Heard:
    """One file and what was heard in it, or why nothing was."""

    file: str
    prediction: Prediction | None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        if self.prediction is None:
            return {"file": self.file, "error": self.error}
        return {"file": self.file, "label": self.prediction.label, "probabilities": self.prediction.probabilities}


def predict_command(args: argparse.Namespace) -> int:
    """`crossmodal predict`; the status is 1 where a file could not be read."""
    recognizer = EmotionRecognizer.from_pretrained(args.model)
    heard = listen(recognizer, find_files(args.inputs))
    _FORMATS[args.format](heard, recognizer.labels)
    for one in heard:
        if one.error:
            print(f"crossmodal predict: {one.error}", file=sys.stderr)
    return int(not heard or any(one.error for one in heard))


def find_files(inputs: Sequence[str]) -> list[Path]:
    """The files that were meant: a folder stands for the recordings below it, a glob for what it matches.

    What names nothing is kept, so that it is reported like any file that cannot be read.
    """
    files: dict[Path, None] = {}
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        elif path.exists():
            found = [path]
        else:
            found = sorted(map(Path, glob.glob(name, recursive=True)))  # noqa: PTH207 (an absolute glob is welcome)
        files |= dict.fromkeys(found or [path])
    return list(files)


def listen(recognizer: EmotionRecognizer, files: Sequence[Path]) -> list[Heard]:
    """Recognise each file; one that cannot be read does not stop the others."""
    heard = []
    with progress_bar() as progress:
        tracked: Iterable[Path] = progress.track(files, description="Listening") if len(files) > 20 else files
        for file in tracked:
            try:
                heard.append(Heard(str(file), recognizer(file)))
            except MediaError as error:
                heard.append(Heard(str(file), None, str(error)))
    return heard


def _print_table(heard: Sequence[Heard], labels: Sequence[str]) -> None:
    table = Table(Column("file", overflow="fold"), "emotion", "probability", "next", box=None)
    for one in heard:
        if one.prediction is not None:
            ranked = sorted(one.prediction.probabilities.items(), key=lambda item: -item[1])
            others = ", ".join(f"{label} {probability:.2f}" for label, probability in ranked[1:3])
            table.add_row(one.file, one.prediction.label, f"{one.prediction.score:.2f}", others)
    Console().print(table)


def _print_json(heard: Sequence[Heard], labels: Sequence[str]) -> None:
    print(json.dumps([one.as_dict() for one in heard], indent=2, ensure_ascii=False))


def _print_csv(heard: Sequence[Heard], labels: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(["file", "label", *labels, "error"])
    for one in heard:
        if one.prediction is None:
            writer.writerow([one.file, "", *("" for _ in labels), one.error])
        else:
            numbers = [f"{one.prediction.probabilities[label]:.6f}" for label in labels]
            writer.writerow([one.file, one.prediction.label, *numbers, ""])


_FORMATS = {"table": _print_table, "json": _print_json, "csv": _print_csv}
