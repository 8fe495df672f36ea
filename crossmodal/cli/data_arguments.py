"""Arguments of `crossmodal data ...`. This module imports nothing heavy, so that ``--help`` is fast."""

import argparse

_CACHE = "cache folder; default: $CROSSMODAL_CACHE, else the user's cache"


def download_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `data download`."""
    parser.description = (
        "Download RAVDESS from Zenodo (record 1188976), verify it and extract it. Valid files are skipped and "
        "interrupted downloads are resumed. Archives that are already in DIR are used and kept. The download has 13.6 "
        "GB for speech, 12.0 GB for song, and 0.2 GB each for audio only. Licence: CC BY-NC-SA 4.0."
    )
    parser.add_argument("root", metavar="DIR", help="target folder; created if needed")
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="speech", help="default: %(default)s")
    parser.add_argument("--modality", choices=("audio", "video", "both"), default="both", help="default: %(default)s")
    parser.add_argument("--actors", default="1-24", metavar="LIST", help="such as 1-4 or 1,5,9; default: %(default)s")
    parser.add_argument(
        "--keep_archives", action="store_true", help="keep the downloaded zip files; default: delete them"
    )
    parser.add_argument("--num_connections", type=int, default=2, help="parallel downloads; default: %(default)s")
    mirror = "JSON of the record, on Zenodo or on a mirror; default: %(default)s"
    parser.add_argument("--url", default="https://zenodo.org/api/records/1188976", help=mirror)


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
    parser.add_argument(
        "--face_size", type=int, default=112, help="height and width of face crops in pixels; default: %(default)s"
    )
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
    parser.add_argument("--cache", metavar="DIR", help=_CACHE)
    _stream_arguments(parser)


def _stream_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("streaming", "Write pairs of audio and faces in chunks; see docs/streaming.md.")
    to = (
        "also write the pairs, split by a protocol, for StreamingPairedDataModule: litdata and a new folder, or a URL "
        "such as s3://bucket/folder. Needs the extra [stream]"
    )
    group.add_argument("--to", nargs=2, metavar=("litdata", "DIR_OR_URL"), help=to)
    group.add_argument("--protocol", metavar="NAME", help="as in fit; default: seq6, or that of the manifest")
    group.add_argument("--fold", type=int, metavar="K", help="test fold, from 0; default: 0")
    group.add_argument("--num_folds", type=int, metavar="N", help="number of folds of the protocol grouped; default: 5")
    label_sets = ("speech8", "song6", "speech6", "both8")
    group.add_argument(
        "--label_set", choices=label_sets, help="labels of RAVDESS, as in fit; default: those of the channel"
    )
    leakage = "as in fit; results are then speaker-dependent"
    group.add_argument("--allow_speaker_leakage", action="store_true", default=None, help=leakage)


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


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `data check`."""
    parser.description = (
        "List the files of a RAVDESS folder and the missing ones, and read every file completely. The exit status is 1 "
        "if there are problems: damaged files, invalid lengths or names, unexpected duplicates, or mp4 audio that "
        "differs from the wav. Stereo files, missing files and the duplicates that RAVDESS published are only listed."
    )
    parser.add_argument("root", metavar="DIR", help="folder of the extracted RAVDESS files")
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="both", help="default: %(default)s")
    complete = "treat missing files as problems: each kind of file, such as speech wavs, must be complete or absent"
    parser.add_argument("--complete", action="store_true", help=complete)
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")
    parser.add_argument("--num_processes", type=int, help="number of processes; default: one per core")


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
    parser.add_argument("--cache", metavar="DIR", help=_CACHE)
