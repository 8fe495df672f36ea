"""`crossmodal data download`."""

import argparse
import re

from crossmodal.datasets.download.folder import bytes_text
from crossmodal.datasets.download.ravdess import download_ravdess
from crossmodal.datasets.download.zenodo import ACTORS
from crossmodal.errors import ConfigError


def download_command(args: argparse.Namespace) -> int:
    """`crossmodal data download`: bring a folder to hold what is asked for, verified."""
    done = download_ravdess(
        args.root,
        channel=args.channel,
        modality=args.modality,
        actors=parse_actors(args.actors),
        keep_archives=args.keep_archives,
        num_connections=args.num_connections,
        url=args.url,
    )
    print(
        f"{done.files} recordings of {done.archives} archive(s) are in {args.root}, verified: {done.extracted} "
        f"extracted now, {done.files - done.extracted} were there; {bytes_text(done.fetched)} fetched."
    )
    if done.replaced:
        print(f"{done.replaced} of those extracted took the place of files that differed from what was published.")
    print(
        f"Licence: CC BY-NC-SA 4.0; cite Livingstone & Russo (2018), doi:10.1371/journal.pone.0196391.\n"
        f"Next: crossmodal data check {args.root}"
    )
    return 0


def parse_actors(text: str) -> list[int]:
    """Read a list of actors as people write it.

    Raises:
        ConfigError: It is none.

    Example:
        >>> parse_actors("1-4,7")
        [1, 2, 3, 4, 7]
    """
    actors: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,2})(?:-(\d{1,2}))?\s*", part)
        some = range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)
        if not some or not set(some) <= set(ACTORS):
            raise ConfigError(f"--actors {text}: give numbers from 1 to 24, such as 1-4 or 1,5,9-12.")
        actors.update(some)
    return sorted(actors)
