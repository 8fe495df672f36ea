"""`crossmodal data check`: report on a RAVDESS folder as a table or JSON."""

import argparse
import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from crossmodal.cli.data.reasons import print_reasons
from crossmodal.datasets.audit.corpus import CheckReport, check_corpus, column_of
from crossmodal.datasets.ravdess import CHANNELS, MODALITIES, published_names
from crossmodal.labels_for_people import in_ranges

_SHOWN = 20
_HEADS = {"03": "wav", "01": "mp4", "02": "silent mp4"}


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `data check`."""
    parser.description = (
        "List the files of a RAVDESS folder and the missing ones, and read every file completely. The exit status is 1 "
        "if there are problems: damaged files, invalid lengths or names, unexpected duplicates, or missing sound. "
        "Stereo files, missing files and the duplicates that RAVDESS published are only listed."
    )
    parser.add_argument("root", metavar="DIR", help="folder of the extracted RAVDESS files")
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="both", help="default: %(default)s")
    complete = "treat missing files as problems: each kind of file, such as speech wavs, must be complete or absent"
    parser.add_argument("--complete", action="store_true", help=complete)
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")
    parser.add_argument("--num_processes", type=int, help="number of processes; default: one per core")


def check_command(args: argparse.Namespace) -> int:
    """Run `crossmodal data check`; the status is 1 if there are problems or, with ``--complete``, gaps."""
    report = check_corpus(args.root, args.channel, args.num_processes)
    if args.format == "json":
        print(json.dumps(as_json(report), indent=2))
    else:
        _print(report, args.complete)
    return int(bool(report.wrong or (args.complete and report.missing)))


def as_json(report: CheckReport) -> dict[str, Any]:
    """Return the report as a dict that converts to JSON."""
    actors: dict[str, dict[str, Counter[str]]] = {}
    for name in sorted(report.files, key=lambda name: name.actor):
        channels = actors.setdefault(name.actor, {})
        channels.setdefault(CHANNELS[name.channel], Counter())[MODALITIES[name.modality]] += 1
    with_audio = {name.clip for name in report.files if name.modality != "02"}
    with_video = {name.clip for name in report.files if name.modality != "03"}
    return {
        "root": str(report.root),
        "files": len(report.files),
        "clips": len(with_audio | with_video),
        "actors": actors,
        "without_sound": sorted(with_video - with_audio),
        "without_face": sorted(with_audio - with_video),
        "missing": ["-".join(name) for name in report.missing],
        "checksums_compared": report.checksums,
        "wrong": [asdict(finding) for finding in report.wrong],
        "notes": [asdict(finding) for finding in report.notes],
    }


def _print(report: CheckReport, complete: bool) -> None:
    present, whole = (
        Counter((actor, column_of(name)) for name in names for actor in (name.actor, "all"))
        for names in (report.files, published_names())
    )
    columns = [
        (channel, modality) for channel in CHANNELS for modality in _HEADS if present["all", (channel, modality)]
    ]
    table = Table("actor", box=None)
    for channel, modality in columns:
        table.add_column(f"{CHANNELS[channel]} {_HEADS[modality]}", justify="right")
    for actor in [*sorted({name.actor for name in report.files}), "all"]:
        table.add_row(actor, *(_cell(present[actor, column], whole[actor, column]) for column in columns))
    Console().print(table)
    for channel, modality in columns:
        absent = {actor for actor, column in whole if column == (channel, modality) and not present[actor, column]}
        if absent:
            print(f"No {CHANNELS[channel]} {_HEADS[modality]} for actors {in_ranges(sorted(absent))}.")
    if report.checksums:
        print(f"{report.checksums} of {len(report.files)} files were compared with the checksums of their archives.")
    for heading, findings in (("note" if len(report.notes) == 1 else "notes", report.notes), ("wrong", report.wrong)):
        reasons = [(finding.file, finding.reason) for finding in findings]
        print_reasons(heading, reasons, _SHOWN, "; use --format json for all")
    if complete and report.missing:
        print(f"{len(report.missing)} published files are missing, and --complete requires all files of a kind.")
    elif not report.wrong:
        print("No problems found.")


def _cell(present: int, whole: int) -> str:
    if not present:
        return "-"
    return f"{present:,}" if present == whole else f"{present:,} of {whole:,}"
