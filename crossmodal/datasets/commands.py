"""`crossmodal data ...`: prepare and synthesize."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from crossmodal.datasets.cache import FaceCrops, PreparedCorpus, prepare_corpus
from crossmodal.datasets.clip import ExcludedClip
from crossmodal.datasets.contact_sheet import draw_contact_sheet
from crossmodal.datasets.quarantine import QUARANTINE_FILE
from crossmodal.datasets.source import ManifestSource, RavdessSource
from crossmodal.datasets.splits.protocols import label_set_for
from crossmodal.datasets.stream_command import check_stream_arguments, divide_pairs, write_prepared
from crossmodal.datasets.synthetic import synthesize
from crossmodal.errors import ConfigError
from crossmodal.storage import cache_dir

_SHOWN = 10
_SHEET_ROWS = 8

Item = TypeVar("Item")


def prepare_command(args: argparse.Namespace) -> int:
    """`crossmodal data prepare`: decode everything once; the status is 1 where nothing could be used."""
    if args.num_video_frames < 1 or args.face_size < 8:
        raise ConfigError(
            "A clip keeps at least one video frame (--num_video_frames), of 8 pixels or more (--face_size)."
        )
    source = _source(args)
    check_stream_arguments(args)
    clips, aside = source.index()
    if args.to:
        divide_pairs(args, source, clips)  # what cannot be divided is told before anything is decoded
    if args.shard:
        whole = len(clips)
        clips = take_shard(clips, args.shard)
        print(f"Shard {args.shard}: {len(clips)} of {whole} clips.")
    box = tuple(args.face_box) if args.face_box else source.face_box
    folder = Path(args.cache) if args.cache else cache_dir()
    crops = FaceCrops(args.num_video_frames, args.face_size, box, args.face_detector)
    corpus = prepare_corpus(clips, crops=crops, folder=folder, num_processes=args.num_processes, retry=True)
    print(
        f"{len(corpus.waveforms)} waveforms and the faces of {len(corpus.faces)} clips are in {folder}: "
        f"{corpus.made} made now, {corpus.reused} reused."
    )
    _print_set_aside([*aside, *corpus.set_aside])
    if corpus.set_aside:
        print(f"What could not be decoded is listed in {folder / QUARANTINE_FILE}.")
    if args.contact_sheet and corpus.faces:
        _draw(corpus, Path(args.contact_sheet))
    if args.to:
        write_prepared(args, source, clips, crops, folder)
    return 0 if corpus.waveforms or corpus.faces or not clips else 1


def take_shard(items: Sequence[Item], shard: str) -> list[Item]:
    """Take one of n parts of equal size.

    Args:
        items: In an order that is the same everywhere.
        shard: ``i/n``, i from 1 to n.

    Raises:
        ConfigError: It is not of that form.

    Example:
        >>> take_shard("abcdefg", "2/3")
        ['b', 'e']
    """
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise ConfigError(f"--shard {shard}: give i/n, i from 1 to n, such as 3/100 for the third of a hundred parts.")
    return list(items[part - 1 :: parts])


def _source(args: argparse.Namespace) -> RavdessSource | ManifestSource:
    if bool(args.root) == bool(args.manifest):
        raise ConfigError("Give the folder of RAVDESS's extracted files, or --manifest FILE.")
    if args.manifest:
        if args.label_set:
            raise ConfigError("--label_set is of RAVDESS; the labels of a manifest are those in it.")
        return ManifestSource(Path(args.manifest), args.allow_outside_paths)
    return RavdessSource(Path(args.root), args.channel, label_set_for(args.channel, args.label_set))


def _draw(corpus: PreparedCorpus, path: Path) -> None:
    names = list(corpus.faces)
    rows = names[:: max(1, len(names) // _SHEET_ROWS)][:_SHEET_ROWS]
    draw_contact_sheet(corpus, rows, path)
    print(f"Face crops of {len(rows)} clips: {path}")


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


def _print_set_aside(set_aside: Sequence[ExcludedClip]) -> None:
    if set_aside:
        print(f"{len(set_aside)} file(s) set aside:")
    for aside in set_aside[:_SHOWN]:
        print(f"  {aside.what}: {aside.reason}")
    if len(set_aside) > _SHOWN:
        print(f"  ... and {len(set_aside) - _SHOWN} more")
