"""`crossmodal data cache`: what is stored, and how to be rid of it."""

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from crossmodal.errors import ConfigError, DataError
from crossmodal.storage import cache_dir

# What lies in the cache, by the folder's name, and what it is for a person who wants room.
KINDS = {
    "waveforms": "decoded sound",
    "faces": "decoded faces",
    "face_features": "features that were read",
    "face_embeddings": "of frozen backbones",
    "speech_features": "of frozen voice networks",
    "teacher_outputs": "what teachers said",
    "stages": "trained, not to be again",
    "streams": "chunks from afar",
    "synthetic": "the built-in corpus",
}
_DAY = 24 * 3600


@dataclass(frozen=True)
class Stored:
    """What of one kind lies in the cache.

    Args:
        kind: One of `KINDS`.
        entries: How many files; of stages and of the corpus, folders.
        megabytes: Their size.
        newest: When the newest was written, in seconds since 1970; None where there is none.
    """

    kind: str
    entries: int
    megabytes: float
    newest: float | None


def cache_command(args: argparse.Namespace) -> int:
    """`crossmodal data cache`."""
    folder = Path(args.cache) if args.cache else cache_dir()
    kinds = args.kinds or list(KINDS)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigError(f"The cache holds no {unknown[0]!r}: choose of {', '.join(KINDS)}.")
    if args.older_than is not None and not args.prune:
        raise ConfigError("--older_than says what --prune removes: give both.")
    if args.prune:
        removed = prune(folder, kinds, args.older_than or 0.0)
        entries, megabytes = sum(one.entries for one in removed), sum(one.megabytes for one in removed)
        print(f"{entries} entries, {megabytes:,.1f} MB removed.")
    stored = [look(folder, kind) for kind in kinds]
    if args.format == "json":
        print(json.dumps({"folder": str(folder), "stored": [asdict(one) for one in stored]}, indent=2))
    else:
        _print(folder, stored)
    return 0


def look(folder: Path, kind: str) -> Stored:
    """Count what is stored of one kind."""
    return _count(kind, list(_entries(folder, kind)))


def prune(folder: Path, kinds: list[str], days: float = 0.0) -> list[Stored]:
    """Remove what is stored of these kinds.

    All of it can be made again. A run that is reading it says so and stops; the same command then makes it anew.

    Args:
        folder: The cache.
        kinds: Of `KINDS`.
        days: Only what was written longer ago.

    Returns:
        What was removed.

    Raises:
        DataError: The folder cannot be written to.
    """
    before = time.time() - days * _DAY
    removed = []
    for kind in kinds:
        old = [entry for entry in _entries(folder, kind) if entry.stat().st_mtime <= before]
        removed.append(_count(kind, old))
        for entry in old:
            try:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
            except OSError as error:
                raise DataError(f"{entry} cannot be removed: {error.strerror}.") from error
    return removed


def _entries(folder: Path, kind: str) -> Iterator[Path]:
    """What is removed as one: a stage's folder, the corpus, else a file; leftovers of killed writers among them."""
    place = folder / kind
    if kind == "synthetic":
        yield from [place] if place.is_dir() else []
    elif kind == "stages":
        yield from (entry for entry in sorted(place.glob("*")) if entry.name != ".locks")
    else:
        yield from (entry for entry in sorted(place.rglob("*")) if entry.is_file())


def _count(kind: str, entries: list[Path]) -> Stored:
    files = [file for entry in entries for file in ([entry] if entry.is_file() else entry.rglob("*")) if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return Stored(kind, len(entries), size / 1e6, max((entry.stat().st_mtime for entry in entries), default=None))


def _print(folder: Path, stored: list[Stored]) -> None:
    table = Table("kind", "what it is", box=None)
    for column in ("entries", "MB", "newest"):
        table.add_column(column, justify="right")
    for one in stored:
        newest = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.newest)) if one.newest else ""
        table.add_row(one.kind, KINDS[one.kind], f"{one.entries:,}", f"{one.megabytes:,.1f}", newest)
    console = Console()
    console.print(table)
    total = sum(one.megabytes for one in stored)
    console.print(f"{total:,.1f} MB in {folder}. All of it can be made again; --prune removes it.", soft_wrap=True)
