"""`crossmodal data prepare` and `crossmodal data synthesize`."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from crossmodal.cli.data.reasons import print_reasons
from crossmodal.cli.data.stream import check_stream_arguments, divide_pairs, write_prepared
from crossmodal.datasets.cache import FaceCrops, PreparedCorpus, prepare_corpus
from crossmodal.datasets.quarantine import QUARANTINE_FILE
from crossmodal.datasets.source import ManifestSource, RavdessSource
from crossmodal.datasets.splits.protocols import label_set_for
from crossmodal.datasets.stored_array import check_array
from crossmodal.datasets.synthetic import synthesize
from crossmodal.errors import ConfigError
from crossmodal.storage import atomic_path, cache_dir

_SHOWN = 10
_SHEET_ROWS = 8
_CAPTION = 14  # pixels above each row

Item = TypeVar("Item")


def prepare_command(args: argparse.Namespace) -> int:
    """Run `crossmodal data prepare`; the status is 1 if no clip is usable."""
    if args.num_video_frames < 1 or args.face_size < 8:
        raise ConfigError("--num_video_frames must be at least 1 and --face_size at least 8.")
    source = _source(args)
    check_stream_arguments(args)
    clips, excluded = source.index()
    if args.to:
        divide_pairs(args, source, clips)  # report errors of the split before decoding
    if args.shard:
        total = len(clips)
        clips = take_shard(clips, args.shard)
        print(f"Shard {args.shard}: {len(clips)} of {total} clips.")
    box = tuple(args.face_box) if args.face_box else source.face_box
    folder = Path(args.cache) if args.cache else cache_dir()
    crops = FaceCrops(args.num_video_frames, args.face_size, box, args.face_detector, args.video_decoder)
    corpus = prepare_corpus(clips, crops=crops, folder=folder, num_processes=args.num_processes, retry=True)
    print(
        f"{len(corpus.waveforms)} waveforms and the faces of {len(corpus.faces)} clips are in {folder}: "
        f"{corpus.made} decoded, {corpus.reused} reused."
    )
    reasons = [(one.what, one.reason) for one in (*excluded, *corpus.excluded)]
    print_reasons("file(s) excluded", reasons, _SHOWN)
    if corpus.excluded:
        print(f"Files that could not be decoded are listed in {folder / QUARANTINE_FILE}.")
    if args.contact_sheet and corpus.faces:
        _draw_contact_sheet(corpus, Path(args.contact_sheet))
    if args.to:
        write_prepared(args, source, clips, crops, folder)
    return 0 if corpus.waveforms or corpus.faces or not clips else 1


def take_shard(items: Sequence[Item], shard: str) -> list[Item]:
    """Take the part ``i/n`` of items, i from 1 to n; raise ConfigError for another form.

    Example:
        >>> take_shard("abcdefg", "2/3")
        ['b', 'e']
    """
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise ConfigError(f"--shard {shard}: give i/n with i from 1 to n, such as 3/100 for the third of 100 parts.")
    return list(items[part - 1 :: parts])


def _source(args: argparse.Namespace) -> RavdessSource | ManifestSource:
    if bool(args.root) == bool(args.manifest):
        raise ConfigError("Give either the folder of the extracted RAVDESS files or --manifest FILE.")
    if args.manifest:
        if args.label_set:
            raise ConfigError("--label_set is for RAVDESS only: a manifest defines its own labels.")
        return ManifestSource(Path(args.manifest), args.allow_outside_paths)
    return RavdessSource(Path(args.root), args.channel, label_set_for(args.channel, args.label_set))


def _draw_contact_sheet(corpus: PreparedCorpus, path: Path) -> None:
    """Write a PNG with one row per clip: its name, and below it the face crops in order of time."""
    names = list(corpus.faces)
    names = names[:: max(1, len(names) // _SHEET_ROWS)][:_SHEET_ROWS]
    crops = [check_array(corpus.faces[name]) for name in names]
    strips = [np.concatenate(clip.transpose(0, 2, 3, 1), axis=1) for clip in crops]
    height, width = strips[0].shape[:2]
    sheet = Image.new("RGB", (width, len(strips) * (height + _CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, strip) in enumerate(zip(names, strips, strict=True)):
        top = row * (height + _CAPTION)
        draw.text((2, top + 1), name, fill="black")
        sheet.paste(Image.fromarray(strip), (0, top + _CAPTION))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
    print(f"Face crops of {len(names)} clips: {path}")


def synthesize_command(args: argparse.Namespace) -> int:
    """Run `crossmodal data synthesize`."""
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
