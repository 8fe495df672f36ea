"""`crossmodal data ...`: prepare, synthesize, check."""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crossmodal.datasets.cache import FaceCrops, PreparedCorpus, prepare_corpus
from crossmodal.datasets.clip import Clip, SetAside
from crossmodal.datasets.contact_sheet import draw_contact_sheet
from crossmodal.datasets.ravdess import FACE_BOX, index_ravdess
from crossmodal.datasets.synthetic import synthesize
from crossmodal.errors import ConfigError
from crossmodal.storage import cache_dir

_SHOWN = 10
_SHEET_ROWS = 8


def prepare_command(args: argparse.Namespace) -> int:
    """`crossmodal data prepare`: decode everything once; the status is 1 where nothing could be used."""
    if args.num_video_frames < 1 or args.face_size < 8:
        raise ConfigError(
            "A clip keeps at least one video frame (--num_video_frames), of 8 pixels or more (--face_size)."
        )
    index = index_ravdess(args.root, args.channel)
    crops = FaceCrops(args.num_video_frames, args.face_size, FACE_BOX)
    folder = Path(args.cache) if args.cache else cache_dir()
    sounds, faces = _prepare_all(index.clips, crops, folder, args.num_processes)
    set_aside = [*index.set_aside, *sounds.set_aside, *faces.set_aside]
    made, reused = sounds.made + faces.made, sounds.reused + faces.reused
    print(
        f"{len(sounds.clips)} waveforms and the faces of {len(faces.clips)} clips are in {folder}: "
        f"{made} made now, {reused} reused."
    )
    _print_set_aside(set_aside)
    if args.contact_sheet and faces.clips:
        step = max(1, len(faces.clips) // _SHEET_ROWS)
        rows = [clip.clip for clip in faces.clips[::step][:_SHEET_ROWS]]
        draw_contact_sheet(faces, rows, Path(args.contact_sheet))
        print(f"Face crops of {len(rows)} clips: {args.contact_sheet}")
    return 0 if sounds.clips or faces.clips else 1


def synthesize_command(args: argparse.Namespace) -> int:
    """`crossmodal data synthesize`."""
    width, _, height = args.resolution.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ConfigError(f"--resolution {args.resolution}: give width and height in pixels, e.g. 1280x720.")
    root = synthesize(
        Path(args.root),
        actors=args.actors,
        channel=args.channel,
        repetitions=args.repetitions,
        resolution=(int(width), int(height)),
        video_only=args.video_only,
        seed=args.seed,
        num_processes=args.num_processes,
    )
    print(f"The synthetic corpus is in {root}. Train on it: crossmodal fit --data.root {root}")
    return 0


def check_command(args: argparse.Namespace) -> int:
    """`crossmodal data check`: what is there, what lacks a partner, what is damaged; 1 where anything is wrong."""
    index = index_ravdess(args.root, args.channel)
    # Decoding is the check; what was decoded is in the cache and need not be decoded again.
    sounds, faces = _prepare_all(index.clips, FaceCrops(8, 112, FACE_BOX), cache_dir(), args.num_processes)
    damaged = [*sounds.set_aside, *faces.set_aside]
    report = {
        "root": str(args.root),
        "clips": len(index.clips),
        "actors": _by_actor(index.clips),
        "without_sound": [clip.clip for clip in index.clips if clip.audio is None],
        "without_face": [clip.clip for clip in index.clips if clip.video is None],
        "set_aside": [vars(aside) for aside in index.set_aside],
        "damaged": [vars(aside) for aside in damaged],
    }
    if args.format == "json":
        print(json.dumps(report, indent=2))
    else:
        _print_check(report, [*index.set_aside, *damaged])
    return int(bool(report["damaged"] or report["set_aside"]))


def _prepare_all(
    clips: Sequence[Clip], crops: FaceCrops, folder: Path, num_processes: int | None
) -> tuple[PreparedCorpus, PreparedCorpus]:
    """Sounds, and faces, each of the clips that have them: a clip without one is no reason to lose the other."""
    heard = [clip for clip in clips if clip.audio is not None]
    seen = [clip for clip in clips if clip.video is not None]
    sounds = prepare_corpus(heard, folder=folder, num_processes=num_processes)
    return sounds, prepare_corpus(seen, audio=False, crops=crops, folder=folder, num_processes=num_processes)


def _by_actor(clips: Sequence[Clip]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        counts[clip.actor].update(
            {f"{clip.channel}_sound": int(clip.audio is not None), f"{clip.channel}_face": int(clip.video is not None)}
        )
    return {actor: dict(count) for actor, count in sorted(counts.items())}


def _print_check(report: dict[str, Any], problems: Sequence[SetAside]) -> None:
    columns = sorted({column for counts in report["actors"].values() for column in counts})
    table = Table("actor", *(column.replace("_", " ") for column in columns), box=None)
    for actor, counts in report["actors"].items():
        table.add_row(actor, *(str(counts.get(column, 0)) for column in columns))
    Console().print(table)
    unpaired = len(report["without_sound"]) + len(report["without_face"])
    print(f"{report['clips']} clips, {unpaired} of them without sound or without face.")
    _print_set_aside(problems)
    print("Nothing is damaged." if not problems else "Get the files above again; everything else can be used.")


def _print_set_aside(set_aside: Sequence[SetAside]) -> None:
    if set_aside:
        print(f"{len(set_aside)} file(s) set aside:")
    for aside in set_aside[:_SHOWN]:
        print(f"  {aside.what}: {aside.reason}")
    if len(set_aside) > _SHOWN:
        print(f"  ... and {len(set_aside) - _SHOWN} more")
