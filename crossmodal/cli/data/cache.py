"""`crossmodal data cache`: show and remove stored results."""

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

# Folders of the cache and their descriptions.
KINDS = {
    "waveforms": "decoded audio",
    "faces": "face crops",
    "face_features": "parsed face features",
    "face_embeddings": "outputs of frozen face backbones",
    "speech_features": "outputs of frozen audio encoders",
    "teacher_outputs": "embeddings and logits of teachers",
    "stages": "trained stages",
    "streams": "downloaded chunks of streams",
    "synthetic": "built-in corpus",
}
_DAY = 24 * 3600


@dataclass(frozen=True)
class Stored:
    """Stored results of one kind."""

    kind: str
    entries: int  # files; of stages and the synthetic corpus, folders
    megabytes: float
    newest: float | None  # seconds since 1970


def cache_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `data cache`."""
    parser.description = (
        "Show stored results and their sizes. With --prune, remove them. All of them can be rebuilt: the next run that "
        "needs them does so."
    )
    kinds = "kinds of results, such as faces or stages; default: all"
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=kinds)
    parser.add_argument("--prune", action="store_true", help="remove the results")
    parser.add_argument("--older_than", type=float, metavar="DAYS", help="with --prune: remove only older results")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")
    parser.add_argument(
        "--cache", metavar="DIR", help="cache folder; default: $CROSSMODAL_CACHE, else the user's cache"
    )


def cache_command(args: argparse.Namespace) -> int:
    """Run `crossmodal data cache`."""
    folder = Path(args.cache) if args.cache else cache_dir()
    kinds = args.kinds or list(KINDS)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigError(f"Unknown kind {unknown[0]!r}: choose from {', '.join(KINDS)}.")
    if args.older_than is not None and not args.prune:
        raise ConfigError("--older_than needs --prune.")
    if args.older_than is not None and not args.older_than >= 0:
        raise ConfigError(f"--older_than is a number of days, 0 or more, not {args.older_than}.")
    if args.prune:
        removed = prune(folder, kinds, args.older_than or 0.0)
        entries, megabytes = sum(one.entries for one in removed), sum(one.megabytes for one in removed)
        print(f"{entries} entries, {megabytes:,.1f} MB removed.")
    stored = [_count(kind, list(_entries(folder, kind))) for kind in kinds]
    if args.format == "json":
        print(json.dumps({"folder": str(folder), "stored": [asdict(one) for one in stored]}, indent=2))
    else:
        _print(folder, stored)
    return 0


def prune(folder: Path, kinds: list[str], days: float = 0.0) -> list[Stored]:
    """Remove stored results of at least the given age, and return what was removed.

    A run that is reading them stops with an error; the same command then rebuilds them.
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
    """Yield the units of removal: folders of stages, the corpus, or files, including those of killed writers."""
    root = folder / kind
    if kind == "synthetic":
        yield from [root] if root.is_dir() else []
    elif kind == "stages":
        yield from (entry for entry in sorted(root.glob("*")) if entry.name != ".locks")
    else:
        yield from (entry for entry in sorted(root.rglob("*")) if entry.is_file())


def _count(kind: str, entries: list[Path]) -> Stored:
    files = [file for entry in entries for file in ([entry] if entry.is_file() else entry.rglob("*")) if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return Stored(kind, len(entries), size / 1e6, max((entry.stat().st_mtime for entry in entries), default=None))


def _print(folder: Path, stored: list[Stored]) -> None:
    table = Table("kind", "description", box=None)
    for column in ("entries", "MB", "newest"):
        table.add_column(column, justify="right")
    for one in stored:
        newest = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.newest)) if one.newest else ""
        table.add_row(one.kind, KINDS[one.kind], f"{one.entries:,}", f"{one.megabytes:,.1f}", newest)
    console = Console()
    console.print(table)
    total = sum(one.megabytes for one in stored)
    console.print(f"{total:,.1f} MB in {folder}. All of it can be rebuilt; --prune removes it.", soft_wrap=True)
