"""`crossmodal data prepare` and `crossmodal data synthesize`."""

import argparse
from pathlib import Path

import numpy as np

from crossmodal.cli.data.reasons import print_reasons
from crossmodal.datasets.cache import PreparedCorpus
from crossmodal.datasets.preparation import prepare
from crossmodal.datasets.quarantine import QUARANTINE_FILE
from crossmodal.datasets.stored_array import check_array
from crossmodal.datasets.synthetic import synthesize
from crossmodal.errors import ConfigError
from crossmodal.storage import atomic_path, cache_dir

_SHOWN = 10
_SHEET_ROWS = 8


def prepare_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `data prepare`."""
    parser.description = (
        "Decode a corpus into the cache: waveforms at 16 kHz and face crops. fit does the same if needed. An "
        "interrupted run is resumed when the command is rerun. Several runs, also on several machines, can share one "
        "cache. Files that cannot be decoded are excluded and listed in quarantine.json in the cache."
    )
    parser.add_argument("root", metavar="DIR", nargs="?", help="folder of the extracted RAVDESS files")
    parser.add_argument("--manifest", metavar="FILE", help="any other corpus, as a table of clips, in place of DIR")
    outside = "allow files outside the folder of the manifest"
    parser.add_argument("--allow_outside_paths", action="store_true", help=outside)
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="both", help="default: %(default)s")
    parser.add_argument("--num_video_frames", type=int, default=8, help="face crops per clip; default: %(default)s")
    size = "height and width of face crops in pixels; default: %(default)s"
    parser.add_argument("--face_size", type=int, default=224, help=size)
    box = "region of the face, as fractions of the picture; default: that of RAVDESS; for a manifest, the whole picture"
    parser.add_argument("--face_box", type=float, nargs=4, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"), help=box)
    detector = "track the face: haar, or a YuNet ONNX file. Needs the extra [face]"
    parser.add_argument("--face_detector", metavar="NAME", help=detector)
    decoder = "library that decodes video frames; auto: decord where it can; default: %(default)s"
    parser.add_argument("--video_decoder", choices=("pyav", "decord", "auto"), default="pyav", help=decoder)
    shard = "decode only the i-th of n parts, i from 1 to n; the parts need no merging"
    parser.add_argument("--shard", metavar="i/n", help=shard)
    parser.add_argument("--num_processes", type=int, help="number of processes; default: one per core")
    parser.add_argument("--contact_sheet", metavar="PNG", help="also write a picture of the face crops of some clips")
    parser.add_argument(
        "--cache", metavar="DIR", help="cache folder; default: $CROSSMODAL_CACHE, else the user's cache"
    )
    to = (
        "also write the clips with sound and faces as a stream for --data.stream of fit: litdata and a new folder or "
        "a URL such as s3://bucket/folder; see docs/streaming.md. Needs the extra [stream]"
    )
    parser.add_argument("--to", nargs=2, metavar=("litdata", "DIR_OR_URL"), help=to)


def prepare_command(args: argparse.Namespace) -> int:
    """Run `crossmodal data prepare`; the status is 1 if no clip is usable."""
    options = {**vars(args)}
    sheet, (kind, target) = options.pop("contact_sheet"), options.pop("to") or ("litdata", None)
    if kind != "litdata":
        raise ConfigError(f"--to {kind}: the only supported format is litdata, as in --to litdata DIR.")
    corpus = prepare(**options, stream=target)
    folder = Path(args.cache) if args.cache else cache_dir()
    part = f"Shard {args.shard}: " if args.shard else ""
    print(
        f"{part}{len(corpus.waveforms)} waveforms and the faces of {len(corpus.faces)} clips are in {folder}: "
        f"{corpus.made} decoded, {corpus.reused} reused."
    )
    reasons = [(one.what, one.reason) for one in (*corpus.unusable, *corpus.excluded)]
    print_reasons("file(s) excluded", reasons, _SHOWN)
    if corpus.excluded:
        print(f"Files that could not be decoded are listed in {folder / QUARANTINE_FILE}.")
    if sheet and corpus.faces:
        _draw_contact_sheet(corpus, Path(sheet))
    if target:
        clips = len(corpus.waveforms.keys() & corpus.faces.keys())
        print(f"The stream of {clips} clips is in {target}: crossmodal fit --data.stream {target}")
    return 0 if corpus.waveforms or corpus.faces or not corpus.excluded else 1


def _draw_contact_sheet(corpus: PreparedCorpus, path: Path) -> None:
    """Write a PNG with one row per clip: its face crops in order of time."""
    import torch
    from torchvision.utils import make_grid, save_image

    names = list(corpus.faces)
    names = names[:: max(1, len(names) // _SHEET_ROWS)][:_SHEET_ROWS]
    crops = [torch.from_numpy(np.array(check_array(corpus.faces[name]))) / 255 for name in names]
    with atomic_path(path) as temporary:
        save_image(make_grid(torch.cat(crops), nrow=len(crops[0])), temporary, format="png")
    print(f"Face crops of {len(names)} clips, from top to bottom {', '.join(names)}: {path}")


def synthesize_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `data synthesize`."""
    parser.add_argument("root", metavar="DIR", help="target folder; created if needed")
    parser.add_argument("--actors", type=int, default=16, help="number of actors, 1 to 24; default: %(default)s")
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="speech", help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, default=1, help="1, or 2 as in RAVDESS; default: %(default)s")
    parser.add_argument(
        "--resolution", default="320x180", metavar="WxH", help="size of the video in pixels; default: %(default)s"
    )
    parser.add_argument("--video_only", action="store_true", help="also write video-only files (modality 02)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the actors; default: %(default)s")
    parser.add_argument("--num_processes", type=int, help="number of processes; default: one per core")


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
