"""Download of RAVDESS from Zenodo to a folder: missing recordings are downloaded, verified and extracted."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.pool import ThreadPool
from pathlib import Path

from rich.filesize import decimal
from rich.progress import Progress

from crossmodal.datasets.download.archive import Member, extract_members, is_extracted, list_members
from crossmodal.datasets.download.http import Downloader, RemoteFile
from crossmodal.datasets.download.lock_file import LOCK_FILE, LockFile
from crossmodal.datasets.download.zenodo import (
    ACTORS,
    KNOWN_SUMS,
    RECORD_URL,
    Archive,
    Modality,
    needed_archives,
    read_record,
)
from crossmodal.datasets.ravdess import Channel, parse_name
from crossmodal.datasets.synthetic import SYNTHETIC_MARKER
from crossmodal.errors import ConfigError, CrossmodalError, DiskSpaceError, DownloadError
from crossmodal.progress import transfer_bar
from crossmodal.storage import disk_errors, locked, remove_leftovers

NUM_CONNECTIONS = 2  # Zenodo sometimes refuses four
MOST_CONNECTIONS = 8
_RECORD_TRIES = 5  # without network, the command fails after some ten seconds

_Advance = Callable[[int], None]  # of a progress bar, by a number of bytes


@dataclass
class Downloaded:
    """Result of `download_ravdess`.

    Args:
        files: Number of requested recordings, which all exist now.
        extracted: Number of recordings that were missing or damaged and have been extracted.
        replaced: Number of extracted recordings that replaced a different file.
        archives: Number of archives of the recordings.
        fetched: Number of downloaded bytes.
    """

    files: int = 0
    extracted: int = 0
    replaced: int = 0
    archives: int = 0
    fetched: int = 0


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
    if not actors or not set(actors) <= set(ACTORS):
        raise ConfigError(f"The actors of RAVDESS are 1 to 24, not {sorted(set(actors) - set(ACTORS))}.")
    if not archives:
        raise ConfigError(f"Actors {sorted(actors)} have no {channel} recordings: actor 18 did not sing.")
    if not 1 <= num_connections <= MOST_CONNECTIONS:
        raise ConfigError(f"--num_connections must be 1 to {MOST_CONNECTIONS}, not {num_connections}.")
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is not a folder. Choose another one.")
    if (root / SYNTHETIC_MARKER).exists():
        raise ConfigError(f"{root} has a synthetic corpus. Choose another folder, so that the two are not mixed.")
    message = f"Waiting for another download to {root}."
    with disk_errors(), locked(root / ".download.lock", message=message), transfer_bar() as progress:
        return _Download(root, set(actors), keep_archives, url, progress).run(archives, num_connections)


class _Download:
    """A download to a folder, which the caller has locked. Partial files are in the sub-folder ``.download``."""

    def __init__(self, root: Path, actors: set[int], keep_archives: bool, url: str, progress: Progress) -> None:
        self.root, self.work = root, root / ".download"
        self.work.mkdir(parents=True, exist_ok=True)
        for path in self.work.glob("*.tmp"):
            path.unlink()  # left by a killed run
        remove_leftovers(root / LOCK_FILE)
        self.lock = LockFile(root / LOCK_FILE)
        self.lock.pin(KNOWN_SUMS, "the published RAVDESS")
        self.actors, self.keep_archives, self.url, self.progress = actors, keep_archives, url, progress
        self.downloader = Downloader(self._print)
        self.missing: dict[Archive, list[Member]] = {}  # of archives with known members
        self.done = Downloaded()
        self._counting = threading.Lock()

    def run(self, archives: list[Archive], num_connections: int) -> Downloaded:
        """Complete all archives."""
        for archive in archives:
            if archive.name in self.lock.members:
                self.missing[archive] = self._find_missing(archive)
        jobs = [
            archive
            for archive in archives
            if self.missing.get(archive) != [] or (self.keep_archives and not (self.root / archive.name).exists())
        ]
        for archive in jobs:
            if not self._local(archive):
                self._remote(archive)
        if jobs:
            to_fetch = sorted(self._left(archive) for archive in jobs if not self._local(archive))
            self._check_space(jobs, to_fetch, num_connections)
            with self._bar("total", sum(to_fetch)) as total:
                self._complete_all(jobs, num_connections, total)
        for archive in archives:  # left by a run that was killed after the extraction
            (self.work / archive.name).unlink(missing_ok=True)
        if not any(self.work.iterdir()):
            self.work.rmdir()
        self.done.archives = len(archives)
        self.done.files = sum(len(self._wanted(archive)) for archive in archives)
        return self.done

    @cached_property
    def record(self) -> dict[str, RemoteFile]:
        """Files of the record by name; reading them pins their checksums."""
        files = read_record(self.downloader.read(self.url, _RECORD_TRIES), self.url)
        self.lock.pin({file.name: (file.size, file.md5) for file in files.values()}, self.url)
        return files

    def _remote(self, archive: Archive) -> RemoteFile:
        if archive.name not in self.record:
            raise DownloadError(f"The record at {self.url} has no {archive.name}.")
        return self.record[archive.name]

    def _wanted(self, archive: Archive) -> list[Member]:
        """Return the requested recordings of an archive with known members."""
        members = self.lock.members[archive.name]
        return [member for member in members if int(parse_name(member.path).actor) in self.actors]

    def _find_missing(self, archive: Archive) -> list[Member]:
        """Return the requested recordings that are missing or damaged."""
        wanted = self._wanted(archive)
        with self._bar(f"{archive.name}: checking files", sum(member.size for member in wanted)) as advance:
            return [member for member in wanted if not is_extracted(member, self._folder(archive), advance)]

    def _local(self, archive: Archive) -> Path | None:
        """Return the path of an archive on the disk with the pinned size."""
        size, _ = self.lock.sums.get(archive.name, (None, ""))
        paths = (self.root / archive.name, self.work / archive.name)
        return next((path for path in paths if path.is_file() and path.stat().st_size == size), None)

    def _left(self, archive: Archive) -> int:
        """Return the number of bytes that remain to download."""
        size, _ = self.lock.sums[archive.name]
        part = self.work / f"{archive.name}.part"
        return max(0, size - part.stat().st_size) if part.exists() else size

    def _check_space(self, archives: list[Archive], to_fetch: list[int], num_connections: int) -> None:
        """Print the plan, and raise if the disk has too little space."""
        recordings = 0
        for archive in archives:
            if archive in self.missing:
                recordings += sum(member.size for member in self.missing[archive])
            else:
                recordings += archive.extracted_size(self.lock.sums[archive.name][0], self.actors)
        needed = recordings + sum(to_fetch if self.keep_archives else to_fetch[-num_connections:])
        free = shutil.disk_usage(self.root).free
        space = f"about {decimal(needed)} needed, {decimal(free)} free"
        self._print(f"Download: {len(to_fetch)} archive(s), {decimal(sum(to_fetch))}. Disk space: {space}.")
        if needed > free:
            raise DiskSpaceError(
                f"The disk of {self.root} is too small: {space}. Free some space, choose a folder on another disk, or "
                "download a part: --actors 1-4, --modality audio."
            )

    def _complete_all(self, archives: list[Archive], num_connections: int, total: _Advance) -> None:
        """Complete archives in threads; these are daemons, so that a silent server does not delay Ctrl-C."""

        def attempt(archive: Archive) -> CrossmodalError | None:
            try:
                with disk_errors():
                    self._complete(archive, total)
            except CrossmodalError as error:
                return error
            return None

        pool = ThreadPool(min(num_connections, len(archives)))
        try:
            results = pool.map_async(attempt, archives, chunksize=1)
            while not results.ready():
                results.wait(0.2)  # on Windows, Ctrl-C cannot interrupt a wait without timeout
            errors = [error for error in results.get() if error]
        finally:
            self.downloader.stop()
            pool.terminate()
        if len(errors) == 1:
            raise errors[0]
        if errors:
            first = "\n".join(f"  {error}" for error in errors[:3])
            raise DownloadError(f"{len(errors)} archives failed. Rerun the command to resume. First errors:\n{first}")

    def _complete(self, archive: Archive, total: _Advance) -> None:
        """Download an archive if necessary, verify it, and extract the missing recordings."""
        path, fetched = self._local(archive), 0
        if path and self.downloader.md5(path) != self.lock.sums[archive.name][1]:
            self._print(f"{path} has another md5 than the published archive, and is ignored.")
            path = None
        if not path:
            remote, path, fetched = self._remote(archive), self.work / archive.name, self._left(archive)
            with self._bar(archive.name, remote.size, remote.size - fetched, total) as advance:
                self.downloader.fetch(remote, path, advance)
        if self.keep_archives:
            path = path.replace(self.root / archive.name)
        if archive not in self.missing:
            self.lock.keep_members(archive.name, list_members(path, archive.parse_member))
            self.missing[archive] = self._find_missing(archive)
        missing, folder = self.missing[archive], self._folder(archive)
        replaced = sum((folder / member.path).exists() for member in missing)
        with self._bar(f"{archive.name}: extracting", sum(member.size for member in missing)) as advance:
            extract_members(path, missing, folder, self.work, advance)
        with self._counting:
            self.done.extracted += len(missing)
            self.done.replaced += replaced
            self.done.fetched += fetched
        if path.parent == self.work:
            path.unlink()
        self._print(f"{archive.name}: verified, {len(missing)} recording(s) extracted")

    def _folder(self, archive: Archive) -> Path:
        return self.root / archive.name.removesuffix(".zip")

    @contextlib.contextmanager
    def _bar(self, name: str, size: int, done: int = 0, total: _Advance | None = None) -> Iterator[_Advance]:
        """Show a progress bar, and yield a function that advances it and the bar of the total."""
        task = self.progress.add_task(name, total=size, completed=done)

        def advance(count: int) -> None:
            self.downloader.pause(0)  # raises after a stop
            self.progress.advance(task, count)
            if total:
                total(count)

        try:
            yield advance
        finally:
            self.progress.remove_task(task)

    def _print(self, text: str) -> None:
        """Print a line above the progress bars."""
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
