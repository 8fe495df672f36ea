"""Download of RAVDESS from Zenodo to a folder: fetch, verify and extract what is missing."""

import contextlib
import errno
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from crossmodal.datasets.download.folder import DownloadFolder, Job, bytes_text
from crossmodal.datasets.download.http import Downloader
from crossmodal.datasets.download.threads import FileBar, in_threads
from crossmodal.datasets.download.zenodo import (
    ACTORS,
    KNOWN_SUMS,
    RECORD_URL,
    Archive,
    Modality,
    needed_archives,
    read_record,
)
from crossmodal.datasets.ravdess import Channel
from crossmodal.datasets.synthetic import SYNTHETIC_MARKER
from crossmodal.errors import ConfigError, CrossmodalError, DiskSpaceError, DownloadError
from crossmodal.progress import transfer_bar
from crossmodal.storage import locked

NUM_CONNECTIONS = 2  # with four, Zenodo has been seen to turn people away
MOST_CONNECTIONS = 8
_RECORD_TRIES = 5  # someone without network waits for some ten seconds


@dataclass(frozen=True)
class Downloaded:
    """Result of `download_ravdess`.

    Args:
        files: Recordings that were asked for, and are there now.
        extracted: Those of them that were not there, or not whole, before.
        replaced: Those of them that were there and differed.
        archives: How many archives they come from.
        fetched: Bytes that were fetched.
    """

    files: int
    extracted: int
    replaced: int
    archives: int
    fetched: int


def download_ravdess(
    root: str | Path,
    *,
    channel: Channel = "speech",
    modality: Modality = "both",
    actors: Collection[int] = ACTORS,
    keep_archives: bool = False,
    num_connections: int = NUM_CONNECTIONS,
    url: str = RECORD_URL,
) -> Downloaded:
    """Download recordings to a folder and verify them.

    A folder is brought there by one process at a time; another waits for it. Sums that were seen once are pinned in
    ``ravdess.lock.json`` in the folder.

    Args:
        root: The folder; made if need be.
        channel: ``speech``, ``song`` or ``both``.
        modality: ``audio``, ``video`` or ``both``.
        actors: Some of 1 to 24.
        keep_archives: Leave the zips in the folder. Those that were there before always stay.
        num_connections: How many files to fetch at the same time.
        url: Of the record's JSON, here or at a mirror.

    Raises:
        ConfigError: An argument is out of range, or the folder cannot be used.
        DownloadError: A file cannot be had. What has arrived stays.
        ChecksumError: A sum is not the one that is known, pinned, or in the record.
        ArchiveError: An archive is damaged or refused.
        DiskSpaceError: The disk has too little room; the text says how much is needed and how much is there.
    """
    root, archives = Path(root), needed_archives(channel, modality, actors)
    _check(root, actors, num_connections)
    if not archives:
        raise ConfigError(f"There is no {channel} by actors {sorted(actors)}: actor 18 did not sing.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        waiting = f"Another download into {root} is going on; waiting for it."
        with locked(root / ".download.lock", told=waiting), transfer_bar() as progress:
            folder = DownloadFolder(root, actors, keep_archives, Downloader(), progress)
            try:
                jobs = _fill(folder, archives, url, num_connections, progress)
            finally:
                folder.tidy()
    except OSError as error:
        raise _of_the_disk(error, root) from error
    return Downloaded(
        files=sum(len(job.wanted or ()) for job in jobs),
        extracted=sum(job.extracted for job in jobs),
        replaced=sum(job.replaced for job in jobs),
        archives=len(jobs),
        fetched=sum(job.fetched for job in jobs),
    )


def _check(root: Path, actors: Collection[int], num_connections: int) -> None:
    if not actors or not set(actors) <= set(ACTORS):
        raise ConfigError(f"RAVDESS's actors are 1 to 24, not {sorted(set(actors) - set(ACTORS))}.")
    if not 1 <= num_connections <= MOST_CONNECTIONS:
        raise ConfigError(f"--num_connections {num_connections}: 1 to {MOST_CONNECTIONS} files at the same time.")
    if (root / SYNTHETIC_MARKER).exists():
        raise ConfigError(f"{root} holds a synthetic corpus. Give another folder: the two must not be mixed.")


def _fill(
    folder: DownloadFolder, archives: Sequence[Archive], url: str, num_connections: int, progress: Progress
) -> list[Job]:
    folder.lock.pin(KNOWN_SUMS, "what is known of RAVDESS")
    jobs = [folder.look(archive) for archive in archives]
    if any(job.lacks_archive for job in jobs):
        _ask_record(folder, jobs, url, progress)
    _check_room(folder, jobs, num_connections)
    _complete(folder, [job for job in jobs if not job.done], num_connections, progress)
    return jobs


def _ask_record(folder: DownloadFolder, jobs: Sequence[Job], url: str, progress: Progress) -> None:
    """Read sizes, checksums and addresses of the missing archives from the record."""
    with FileBar(progress, "the record", None) as bar:
        files = read_record(Downloader(tries=_RECORD_TRIES).read(url, bar), url)
    folder.lock.pin({file.name: (file.size, file.md5) for file in files.values()}, url)
    lacking = [job.archive.name for job in jobs if job.lacks_archive and job.archive.name not in files]
    if lacking:
        raise DownloadError(f"The record at {url} lacks {len(lacking)} of the archives: {', '.join(lacking[:3])} ...")
    for job in jobs:
        if job.lacks_archive:
            job.remote = files[job.archive.name]
            job.local = job.local or folder.find_archive(job.archive)


def _check_room(folder: DownloadFolder, jobs: Sequence[Job], num_connections: int) -> None:
    """Print the plan, and raise if the disk has too little space."""
    to_fetch = sorted(folder.still_to_fetch(job) for job in jobs if job.lacks_archive)
    recordings = sum(folder.still_to_extract(job) for job in jobs if not job.done)
    archives = sum(to_fetch if folder.keep_archives else to_fetch[-num_connections:])
    free = shutil.disk_usage(folder.root).free
    if not to_fetch and not recordings:
        return
    folder.say(
        f"To fetch: {len(to_fetch)} archive(s), {bytes_text(sum(to_fetch))}. On the disk: about "
        f"{bytes_text(recordings + archives)} needed, {bytes_text(free)} free."
    )
    if recordings + archives > free:
        raise DiskSpaceError(
            f"{folder.root} is on a disk with {bytes_text(free)} free; needed are about "
            f"{bytes_text(recordings + archives)}: {bytes_text(recordings)} for the recordings, and "
            f"{bytes_text(archives)} for the archives they come from. Free some, give a folder on another disk, or "
            "take a part: --actors 1-4, --modality audio."
        )


def _complete(folder: DownloadFolder, jobs: Sequence[Job], num_connections: int, progress: Progress) -> None:
    here = sum(folder.part_size(job) for job in jobs if job.lacks_archive)
    to_come = sum(folder.still_to_fetch(job) for job in jobs)
    in_all = FileBar(progress, "in all", here + to_come, here=here) if to_come else contextlib.nullcontext()
    with in_all as bar:
        failed = in_threads(lambda job: folder.complete(job, bar), jobs, num_connections, folder.stop)
    errors = {job.archive.name: _known(error, folder.root) for job, error in failed}
    if len(errors) == 1:
        raise next(iter(errors.values()))
    if errors:
        first = "\n".join(f"  {error}" for error in list(errors.values())[:3])
        raise DownloadError(
            f"{len(errors)} of {len(jobs)} archives are not complete; the others are, and the same command goes on "
            f"where it was. The first of them:\n{first}"
        )


def _known(error: BaseException, root: Path) -> CrossmodalError:
    """Convert an error to one for the user; other errors are raised unchanged."""
    if isinstance(error, CrossmodalError):
        return error
    if isinstance(error, OSError):
        return _of_the_disk(error, root)
    raise error


def _of_the_disk(error: OSError, root: Path) -> CrossmodalError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskSpaceError(
            f"The disk of {root} is full ({error.strerror}). Free some; the same command goes on where it was."
        )
    return ConfigError(f"{root} cannot be written: {error}.")
