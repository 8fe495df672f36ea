"""`crossmodal data manifest`: write the manifest of a published corpus."""

import argparse
from pathlib import Path

from crossmodal.cli.data.reasons import print_reasons
from crossmodal.datasets.manifest_table import write_rows
from crossmodal.datasets.recipes import list_corpus

_SHOWN = 5


def manifest_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `data manifest`."""
    parser.description = (
        "Write the manifest of a corpus in its published layout: a table with one row per clip, for --data.manifest of "
        "fit, test and studies. For any other corpus, write a manifest yourself; see docs/manifests.md."
    )
    parser.add_argument("corpus", choices=("cremad", "meld", "ravdess"))
    parser.add_argument("root", metavar="DIR", help="folder of the corpus; searched recursively")
    out = ".csv or .parquet file; default: CORPUS.csv in DIR, with relative paths, so that the folder can be moved"
    parser.add_argument("--out", metavar="FILE", help=out)


def manifest_command(args: argparse.Namespace) -> int:
    """Run `crossmodal data manifest`."""
    root = Path(args.root)
    listing = list_corpus(args.corpus, root)
    path = Path(args.out) if args.out else root / f"{args.corpus}.csv"
    folder = path.absolute().parent
    cells = [(row, name) for row in listing.rows for name in ("audio", "video") if row[name]]
    files = [Path(str(row[name])).absolute() for row, name in cells]
    is_inside = all(file.is_relative_to(folder) for file in files)
    for (row, name), file in zip(cells, files, strict=True):
        row[name] = file.relative_to(folder).as_posix() if is_inside else file
    write_rows(path, listing.rows)
    labels, speakers = ({row[name] for row in listing.rows} for name in ("label", "speaker"))
    print(f"{len(listing.rows)} clips of {len(speakers)} speakers with {len(labels)} labels are in {path}.")
    for note in listing.notes:
        print(note)
    print_reasons("excluded", [(excluded.what, excluded.reason) for excluded in listing.excluded], _SHOWN)
    allow = "" if is_inside else " --data.allow_outside_paths true"
    print(f"Train on it: crossmodal fit --data.manifest {path}{allow}")
    return 0
