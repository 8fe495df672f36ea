"""Download of RAVDESS from Zenodo to a folder: missing recordings are downloaded, verified and extracted."""

import contextlib
import errno
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from crossmodal.datasets.download.folder import DownloadFolder, Job, bytes_text
from crossmodal.datasets.download.http import Downloader
from crossmodal.datasets.download.threads import FileBar, run_in_threads
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

NUM_CONNECTIONS = 2  # Zenodo sometimes refuses four
MOST_CONNECTIONS = 8
_RECORD_TRIES = 5  # without network, the command fails after some ten seconds


@dataclass(frozen=True)
class Downloaded:
    """Result of `download_ravdess`.

    Args:
        files: Number of requested recordings, which all exist now.
        extracted: Number of recordings that were missing or damaged and have been extracted.
        replaced: Number of extracted recordings that replaced a different file.
        archives: Number of archives of the recordings.
        fetched: Number of downloaded bytes.
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

    Only one process at a time downloads to a folder; others wait. Checksums are pinned in ``ravdess.lock.json`` in the
    folder when they are first seen.

    Args:
        root: Target folder, created if necessary.
        channel: ``speech``, ``song`` or ``both``.
        modality: ``audio``, ``video`` or ``both``.
        actors: Actors, from 1 to 24.
        keep_archives: True to keep downloaded zips in the folder. Existing zips are always kept.
        num_connections: Number of simultaneous downloads.
        url: URL of the record's JSON, for example at a mirror.

    Raises:
        ConfigError: If an argument is out of range, or the folder cannot be used.
        DownloadError: If a download fails. Received bytes are kept.
        ChecksumError: If a checksum differs from the known, pinned or recorded one.
        ArchiveError: If an archive is damaged or rejected.
        DiskSpaceError: If there is not enough disk space. The message has the required and the free space.
    """
    root, archives = Path(root), needed_archives(channel, modality, actors)
    _check(root, actors, num_connections)
    if not archives:
        raise ConfigError(f"Actors {sorted(actors)} have no {channel} recordings: actor 18 did not sing.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        message = f"Waiting for another download to {root}."
        with locked(root / ".download.lock", message=message), transfer_bar() as progress:
            folder = DownloadFolder(root, actors, keep_archives, Downloader(), progress)
            try:
                jobs = _fill(folder, archives, url, num_connections, progress)
            finally:
                folder.tidy()
    except OSError as error:
        raise _disk_error(error, root) from error
    return Downloaded(
        files=sum(len(job.wanted or ()) for job in jobs),
        extracted=sum(job.extracted for job in jobs),
        replaced=sum(job.replaced for job in jobs),
        archives=len(jobs),
        fetched=sum(job.fetched for job in jobs),
    )


def _check(root: Path, actors: Collection[int], num_connections: int) -> None:
    if not actors or not set(actors) <= set(ACTORS):
        raise ConfigError(f"The actors of RAVDESS are 1 to 24, not {sorted(set(actors) - set(ACTORS))}.")
    if not 1 <= num_connections <= MOST_CONNECTIONS:
        raise ConfigError(f"--num_connections must be 1 to {MOST_CONNECTIONS}, not {num_connections}.")
    if (root / SYNTHETIC_MARKER).exists():
        raise ConfigError(f"{root} has a synthetic corpus. Choose another folder, so that the two are not mixed.")


def _fill(
    folder: DownloadFolder, archives: Sequence[Archive], url: str, num_connections: int, progress: Progress
) -> list[Job]:
    folder.lock.pin(KNOWN_SUMS, "the published RAVDESS")
    jobs = [folder.inspect(archive) for archive in archives]
    if any(job.needs_archive for job in jobs):
        _read_record(folder, jobs, url, progress)
    _check_room(folder, jobs, num_connections)
    _complete(folder, [job for job in jobs if not job.done], num_connections, progress)
    return jobs


def _read_record(folder: DownloadFolder, jobs: Sequence[Job], url: str, progress: Progress) -> None:
    """Read sizes, checksums and URLs of the missing archives from the record."""
    with FileBar(progress, "the record", None) as bar:
        files = read_record(Downloader(tries=_RECORD_TRIES).read(url, bar), url)
    folder.lock.pin({file.name: (file.size, file.md5) for file in files.values()}, url)
    missing = [job.archive.name for job in jobs if job.needs_archive and job.archive.name not in files]
    if missing:
        raise DownloadError(f"The record at {url} has no {', '.join(missing[:3])} ({len(missing)} archives missing).")
    for job in jobs:
        if job.needs_archive:
            job.remote = files[job.archive.name]
            job.local = job.local or folder.find_archive(job.archive)


def _check_room(folder: DownloadFolder, jobs: Sequence[Job], num_connections: int) -> None:
    """Print the plan, and raise if the disk has too little space."""
    to_fetch = sorted(folder.still_to_fetch(job) for job in jobs if job.needs_archive)
    recordings = sum(folder.still_to_extract(job) for job in jobs if not job.done)
    archives = sum(to_fetch if folder.keep_archives else to_fetch[-num_connections:])
    free = shutil.disk_usage(folder.root).free
    if not to_fetch and not recordings:
        return
    folder.print_line(
        f"Download: {len(to_fetch)} archive(s), {bytes_text(sum(to_fetch))}. Disk space: about "
        f"{bytes_text(recordings + archives)} needed, {bytes_text(free)} free."
    )
    if recordings + archives > free:
        raise DiskSpaceError(
            f"The disk of {folder.root} has {bytes_text(free)} free, but about {bytes_text(recordings + archives)} are "
            f"needed: {bytes_text(recordings)} for recordings and {bytes_text(archives)} for archives. Free some "
            "space, choose a folder on another disk, or download a part: --actors 1-4, --modality audio."
        )


def _complete(folder: DownloadFolder, jobs: Sequence[Job], num_connections: int, progress: Progress) -> None:
    resumed = sum(folder.part_size(job) for job in jobs if job.needs_archive)
    remaining = sum(folder.still_to_fetch(job) for job in jobs)
    total = FileBar(progress, "total", resumed + remaining, here=resumed) if remaining else contextlib.nullcontext()
    with total as bar:
        failed = run_in_threads(lambda job: folder.complete(job, bar), jobs, num_connections, folder.stop)
    errors = {job.archive.name: _user_error(error, folder.root) for job, error in failed}
    if len(errors) == 1:
        raise next(iter(errors.values()))
    if errors:
        first = "\n".join(f"  {error}" for error in list(errors.values())[:3])
        raise DownloadError(
            f"{len(errors)} of {len(jobs)} archives failed. Rerun the same command to resume. First errors:\n{first}"
        )


def _user_error(error: BaseException, root: Path) -> CrossmodalError:
    """Convert an error to one for the user; other errors are raised unchanged."""
    if isinstance(error, CrossmodalError):
        return error
    if isinstance(error, OSError):
        return _disk_error(error, root)
    raise error


def _disk_error(error: OSError, root: Path) -> CrossmodalError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskSpaceError(
            f"The disk of {root} is full ({error.strerror}). Free some space, then rerun the same command to resume."
        )
    return ConfigError(f"Cannot write {root}: {error}.")
