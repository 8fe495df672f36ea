"""`crossmodal data check`: the report on a RAVDESS folder, for a person or for a program."""

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

from crossmodal.datasets.audit.corpus import CheckReport, Column, check_corpus, column_of
from crossmodal.datasets.audit.file import Finding
from crossmodal.datasets.ravdess import CHANNELS, MODALITIES, MP4_SOUND_DELAY, published_names

_SHOWN = 20
_HEADS = {"03": "wav", "01": "mp4", "02": "silent mp4"}


def check_command(args: argparse.Namespace) -> int:
    """The status is 1 where anything is wrong; with ``--complete`` also where a kind of file has gaps."""
    report = check_corpus(args.root, args.channel, args.num_processes)
    if args.format == "json":
        print(json.dumps(as_json(report), indent=2))
    else:
        _print(report, args.complete)
    return int(bool(report.wrong or (args.complete and report.gaps)))


def as_json(report: CheckReport) -> dict[str, Any]:
    """The report as a program reads it."""
    actors: dict[str, dict[str, dict[str, int]]] = {}
    for name in sorted(report.files, key=lambda name: name.actor):
        of_channel = actors.setdefault(name.actor, {}).setdefault(CHANNELS[name.channel], {})
        of_channel[MODALITIES[name.modality]] = of_channel.get(MODALITIES[name.modality], 0) + 1
    sounding = {name.clip for name in report.files if name.modality != "02"}
    seen = {name.clip for name in report.files if name.modality != "03"}
    return {
        "root": str(report.root),
        "files": len(report.files),
        "clips": len(sounding | seen),
        "actors": actors,
        "without_sound": sorted(seen - sounding),
        "without_face": sorted(sounding - seen),
        "missing": ["-".join(name) for name in report.gaps],
        "checksums_compared": report.checksums,
        "sound_of_mp4_against_wav": {clip: asdict(sync) for clip, sync in report.syncs.items()},
        "wrong": [asdict(finding) for finding in report.wrong],
        "notes": [asdict(finding) for finding in report.notes],
    }


def _print(report: CheckReport, complete: bool) -> None:
    columns = sorted(
        {column_of(name) for name in report.files}, key=lambda column: (column[0], [*_HEADS].index(column[1]))
    )
    whole = Counter((name.actor, column_of(name)) for name in published_names())
    there = Counter((name.actor, column_of(name)) for name in report.files)
    table = Table("actor", box=None)
    for channel, modality in columns:
        table.add_column(f"{CHANNELS[channel]} {_HEADS[modality]}", justify="right")
    for actor in sorted({name.actor for name in report.files}):
        table.add_row(actor, *(_cell(there[actor, column], whole[actor, column]) for column in columns))
    for counts in (there, whole):  # of all actors
        counts.update(
            {("all", column): sum(counts[key] for key in [*counts] if key[1] == column) for column in columns}
        )
    table.add_row("all", *(_cell(there["all", column], whole["all", column]) for column in columns))
    Console().print(table)
    for column in columns:
        if text := _actors_without(report, column):
            print(text)
    if report.syncs:
        print(_sync_line(report))
    if report.checksums:
        print(
            f"{report.checksums} of {len(report.files)} files could be compared with the checksums of their archives."
        )
    _print_findings("note", report.notes)
    _print_findings("wrong", report.wrong)
    if complete and report.gaps:
        print(f"{len(report.gaps)} published files are missing, and --complete asks for all of a kind.")
    elif not report.wrong:
        print("Nothing is wrong.")


def _cell(there: int, whole: int) -> str:
    if not there:
        return "-"
    return f"{there:,}" if there == whole else f"{there:,} of {whole:,}"


def _actors_without(report: CheckReport, column: Column) -> str:
    """Name the actors of whom there is nothing of a kind."""
    of_kind = {name.actor for name in report.files if column_of(name) == column}
    gone = sorted({int(name.actor) for name in report.lacking if column_of(name) == column} - set(map(int, of_kind)))
    if not gone:
        return ""
    return f"No {CHANNELS[column[0]]} {_HEADS[column[1]]} of actors {_spans(gone)}."


def _spans(numbers: Sequence[int]) -> str:
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _sync_line(report: CheckReport) -> str:
    lags = [sync.lag for sync in report.syncs.values()]
    least = min(sync.correlation for sync in report.syncs.values())
    return (
        f"Sound of {len(lags)} mp4(s) against the wav: {statistics.median(lags):.1f} ms later ({min(lags):.1f} to "
        f"{max(lags):.1f}; {1000 * MP4_SOUND_DELAY:.1f} is right), correlation {least:.4f} or more."
    )


def _print_findings(kind: str, findings: Sequence[Finding]) -> None:
    if findings:
        print(f"{len(findings)} {kind if kind == 'wrong' or len(findings) == 1 else f'{kind}s'}:")
    for finding in findings[:_SHOWN]:
        print(f"  {finding.file}: {finding.reason}")
    if len(findings) > _SHOWN:
        print(f"  ... and {len(findings) - _SHOWN} more; --format json lists all")
