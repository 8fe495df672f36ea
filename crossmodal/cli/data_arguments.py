"""The arguments of `crossmodal data ...`. Nothing heavy is imported, for `--help` answers at once."""

import argparse


def download_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `data download`."""
    parser.description = (
        "Fetch RAVDESS from Zenodo (record 1188976), verify it and extract it. What is there and right is left alone; "
        "a download that was stopped goes on where it was. Archives that lie in DIR already are used, and stay. Speech "
        "takes 13.6 GB to fetch, song 12.0 GB, sound alone 0.2 GB each. Licence: CC BY-NC-SA 4.0."
    )
    parser.add_argument("root", metavar="DIR", help="folder to fill; made if need be")
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="speech", help="default: %(default)s")
    parser.add_argument("--modality", choices=("audio", "video", "both"), default="both", help="default: %(default)s")
    parser.add_argument("--actors", default="1-24", metavar="LIST", help="such as 1-4 or 1,5,9; default: %(default)s")
    parser.add_argument("--keep_archives", action="store_true", help="leave the zips in DIR; default: none is left")
    parser.add_argument("--num_connections", type=int, default=2, help="files at the same time; default: %(default)s")
    mirror = "the record's JSON, here or at a mirror; default: %(default)s"
    parser.add_argument("--url", default="https://zenodo.org/api/records/1188976", help=mirror)


def prepare_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `data prepare`."""
    parser.description = (
        "Decode a corpus into the cache, once: waveforms of 16 kHz, and face crops. fit does the same where it is not "
        "done. A run that was stopped goes on where it was; several may work on one cache, on one machine or on many. "
        "What cannot be decoded is set aside, and listed in quarantine.json in the cache."
    )
    parser.add_argument("root", metavar="DIR", nargs="?", help="folder of the extracted RAVDESS files")
    parser.add_argument("--manifest", metavar="FILE", help="in its place: any other corpus, as a table of clips")
    outside = "the manifest's files may lie outside of its folder"
    parser.add_argument("--allow_outside_paths", action="store_true", help=outside)
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="both", help="default: %(default)s")
    parser.add_argument("--num_video_frames", type=int, default=8, help="face crops of a clip; default: %(default)s")
    parser.add_argument("--face_size", type=int, default=112, help="height and width in pixels; default: %(default)s")
    box = "where the face is, in fractions of the picture; default: RAVDESS's, and for a manifest all of the picture"
    parser.add_argument("--face_box", type=float, nargs=4, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"), help=box)
    detector = "follow the face: haar, or a YuNet ONNX file. Needs the extra [face]"
    parser.add_argument("--face_detector", metavar="NAME", help=detector)
    shard = "only the i-th of n parts, i from 1 to n; the parts need no merging"
    parser.add_argument("--shard", metavar="i/n", help=shard)
    parser.add_argument("--num_processes", type=int, help="files decoded at the same time; default: one for each core")
    parser.add_argument("--contact_sheet", metavar="PNG", help="also draw the face crops of some clips")
    parser.add_argument("--cache", metavar="DIR", help="default: $CROSSMODAL_CACHE, else the user's cache")
    _stream_arguments(parser)


def _stream_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("to stream it", "Pairs of sound and face in chunks; see docs/streaming.md.")
    to = (
        "also write the pairs, divided by a protocol, for StreamingPairedDataModule: litdata, and a folder that is not "
        "there yet, or an URL such as s3://bucket/folder. Needs the extra [stream]"
    )
    group.add_argument("--to", nargs=2, metavar=("litdata", "DIR_OR_URL"), help=to)
    group.add_argument("--protocol", metavar="NAME", help="as of fit; default: seq6, and for a manifest its own")
    group.add_argument("--fold", type=int, metavar="K", help="whose actors test, from 0; default: 0")
    group.add_argument("--num_folds", type=int, metavar="N", help="of the protocol grouped; default: 5")
    label_sets = ("speech8", "song6", "speech6", "both8")
    group.add_argument("--label_set", choices=label_sets, help="of RAVDESS, as of fit; default: the channel's own")
    leakage = "as of fit; results are then speaker-dependent"
    group.add_argument("--allow_speaker_leakage", action="store_true", default=None, help=leakage)


def manifest_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `data manifest`."""
    parser.description = (
        "Write the manifest of a published corpus from the layout in which it is published: a table with a row for "
        "each clip, for --data.manifest of fit, test and the studies. Any other corpus is used with one of yours."
    )
    parser.add_argument("corpus", choices=("cremad", "meld", "ravdess"))
    parser.add_argument("root", metavar="DIR", help="the folder that holds it; searched to any depth")
    out = "a .csv or .parquet file; default: in DIR, where its paths are relative and go where the folder goes"
    parser.add_argument("--out", metavar="FILE", help=out)


def synthesize_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `data synthesize`."""
    parser.add_argument("root", metavar="DIR", help="folder to write; made if need be")
    parser.add_argument("--actors", type=int, default=16, help="1 to 24; default: %(default)s")
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="speech", help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, default=1, help="1, or 2 as RAVDESS has; default: %(default)s")
    parser.add_argument("--resolution", default="320x180", metavar="WxH", help="of the video; default: %(default)s")
    parser.add_argument("--video_only", action="store_true", help="also write the 02 files, whose sound is silence")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other actors; default: %(default)s")
    parser.add_argument("--num_processes", type=int, help="default: one for each core")


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `data check`."""
    parser.description = (
        "Say what a RAVDESS folder holds and lacks, and look into every file from its first to its last byte. The "
        "status is 1 where anything is wrong: damage, lengths, names and copies that cannot be, sound that is not that "
        "of the wav. Stereo, files that are not there, and what RAVDESS published twice are only told."
    )
    parser.add_argument("root", metavar="DIR", help="folder of the extracted RAVDESS files")
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="both", help="default: %(default)s")
    complete = "what is missing is wrong, too: of each kind of file, such as wavs of speech, all or none"
    parser.add_argument("--complete", action="store_true", help=complete)
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")
    parser.add_argument("--num_processes", type=int, help="files at the same time; default: one for each core")


def cache_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `data cache`."""
    parser.description = (
        "Show what is stored, and how much room it takes. With --prune, remove it: all of it can be made again, and a "
        "run that wants it does so."
    )
    kinds = "what to show or to remove, such as faces or stages; default: everything"
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=kinds)
    parser.add_argument("--prune", action="store_true", help="remove it")
    parser.add_argument("--older_than", type=float, metavar="DAYS", help="only what was written longer ago")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")
    parser.add_argument("--cache", metavar="DIR", help="default: $CROSSMODAL_CACHE, else the user's cache")
