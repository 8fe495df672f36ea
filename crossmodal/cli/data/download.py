"""`crossmodal data download`: download and verify RAVDESS."""

import argparse
import re

from rich.filesize import decimal

from crossmodal.datasets.download.ravdess import download_ravdess
from crossmodal.datasets.download.zenodo import ACTORS
from crossmodal.errors import ConfigError


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
    mirror = "JSON of the record, on Zenodo or on a mirror; default: %(default)s"
    parser.add_argument("--url", default="https://zenodo.org/api/records/1188976", help=mirror)


def download_command(args: argparse.Namespace) -> int:
    """Run `crossmodal data download`."""
    result = download_ravdess(
        args.root,
        channel=args.channel,
        modality=args.modality,
        actors=parse_actors(args.actors),
        url=args.url,
    )
    print(
        f"{result.files} recordings are verified in {args.root}: {result.extracted} extracted, "
        f"{result.files - result.extracted} already present; {decimal(result.fetched)} downloaded."
    )
    print(
        f"Licence: CC BY-NC-SA 4.0; cite Livingstone & Russo (2018), doi:10.1371/journal.pone.0196391.\n"
        f"Next: crossmodal data check {args.root}"
    )
    return 0


def parse_actors(text: str) -> list[int]:
    """Parse numbers and ranges from 1 to 24, such as ``1-4,7``; raise ConfigError for anything else."""
    actors: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,2})(?:-(\d{1,2}))?\s*", part)
        numbers = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not numbers or not set(numbers) <= set(ACTORS):
            raise ConfigError(f"--actors {text}: give numbers from 1 to 24, such as 1-4 or 1,5,9-12.")
        actors.update(numbers)
    return sorted(actors)
