"""`crossmodal data manifest`: write the manifest of a published corpus."""

import argparse
from pathlib import Path

from crossmodal.cli.data.reasons import print_reasons
from crossmodal.datasets.manifest_table import write_rows
from crossmodal.datasets.recipes import Listing, list_corpus

_SHOWN = 5


def manifest_command(args: argparse.Namespace) -> int:
    """Run `crossmodal data manifest`."""
    root = Path(args.root)
    listing = list_corpus(args.corpus, root)
    path = Path(args.out) if args.out else root / f"{args.corpus}.csv"
    is_inside = _write(path, listing)
    labelled = {str(row["label"]) for row in listing.rows}
    speakers = {row["speaker"] for row in listing.rows}
    print(f"{len(listing.rows)} clips of {len(speakers)} speakers with {len(labelled)} labels are in {path}.")
    for note in listing.notes:
        print(note)
    print_reasons("excluded", [(excluded.what, excluded.reason) for excluded in listing.excluded], _SHOWN)
    allow = "" if is_inside else " --data.allow_outside_paths true"
    print(f"Train on it: crossmodal fit --data.manifest {path}{allow}")
    return 0


def _write(path: Path, listing: Listing) -> bool:
    """Write the manifest. Return True if all files are in its folder, so that paths are relative."""
    folder = path.absolute().parent
    files = [Path(str(row[name])).absolute() for row in listing.rows for name in ("audio", "video") if row[name]]
    is_inside = all(file.is_relative_to(folder) for file in files)
    for row in listing.rows:
        for name in ("audio", "video"):
            if row[name]:
                file = Path(str(row[name])).absolute()
                row[name] = file.relative_to(folder).as_posix() if is_inside else file
    write_rows(path, listing.rows)
    return is_inside
