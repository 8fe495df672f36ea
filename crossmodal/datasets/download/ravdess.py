"""Download of RAVDESS from Zenodo to a folder: missing recordings are downloaded, verified and extracted."""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal
from rich.progress import Progress

from crossmodal.datasets.download.archive import Member, extract_members, is_extracted, list_members
from crossmodal.datasets.download.http import fetch, read
from crossmodal.datasets.download.lock_file import LOCK_FILE, LockFile
from crossmodal.datasets.download.zenodo import (
    ACTORS,
    KNOWN_SUMS,
    RECORD_URL,
    Archive,
    Modality,
    RemoteFile,
    needed_archives,
    read_record,
)
from crossmodal.datasets.ravdess import Channel, parse_name
from crossmodal.datasets.synthetic import SYNTHETIC_MARKER
from crossmodal.errors import ChecksumError, ConfigError, DiskSpaceError, DownloadError
from crossmodal.progress import transfer_bar
from crossmodal.storage import disk_errors, locked, remove_leftovers

_RECORD_TRIES = 5  # without network, the command fails after some ten seconds


@dataclass
class Downloaded:
    """Result of `download_ravdess`.

    Args:
        files: Number of requested recordings, which all exist now.
        extracted: Number of recordings that were missing or different and have been extracted.
        fetched: Number of downloaded bytes.
    """

    files: int = 0
    extracted: int = 0
    fetched: int = 0


def download_ravdess(
    root: str | Path,
    *,
    channel: Channel = "speech",
    modality: Modality = "both",
    actors: Collection[int] = ACTORS,
    url: str = RECORD_URL,
) -> Downloaded:
    """Download recordings to a folder and verify them; a later call resumes after an interruption.

    Only one process at a time downloads to a folder; others wait. Checksums are pinned in ``ravdess.lock.json`` in the
    folder when they are first seen.

    Args:
        root: Target folder, created if necessary. Archives in it are used and kept.
        channel: ``speech``, ``song`` or ``both``.
        modality: ``audio``, ``video`` or ``both``.
        actors: Actors, from 1 to 24.
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
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is not a folder. Choose another one.")
    if (root / SYNTHETIC_MARKER).exists():
        raise ConfigError(f"{root} has a synthetic corpus. Choose another folder, so that the two are not mixed.")
    message = f"Waiting for another download to {root}."
    with disk_errors(), locked(root / ".download.lock", message=message), transfer_bar() as progress:
        return _Download(root, set(actors), url, progress).run(archives)


class _Download:
    """A download to a folder, which the caller has locked."""

    def __init__(self, root: Path, actors: set[int], url: str, progress: Progress) -> None:
        remove_leftovers(root / LOCK_FILE)
        self.root, self.actors, self.url, self.progress = root, actors, url, progress
        self.lock = LockFile(root / LOCK_FILE)
        self.lock.pin(KNOWN_SUMS, "the published RAVDESS")
        self.missing: dict[Archive, list[Member]] = {}  # of archives with known members
        self.done = Downloaded()

    def run(self, archives: list[Archive]) -> Downloaded:
        """Complete all archives."""
        for archive in archives:
            if archive.name in self.lock.members:
                self.missing[archive] = self._find_missing(archive)
        jobs = [archive for archive in archives if self.missing.get(archive) != []]
        remote = {} if all(map(self._local, jobs)) else self._read_record(jobs)
        if jobs:
            self._check_space(jobs)
        for archive in jobs:
            self._complete(archive, remote.get(archive.name))
        for archive in archives:  # left by a run that was killed after the extraction
            self._part(archive).unlink(missing_ok=True)
        self.done.files = sum(len(self._wanted(archive)) for archive in archives)
        return self.done

    def _read_record(self, archives: list[Archive]) -> dict[str, RemoteFile]:
        """Return the files of the record by name, and pin their checksums."""
        files = read_record(read(self.url, self._print, _RECORD_TRIES), self.url)
        if absent := [archive.name for archive in archives if archive.name not in files and not self._local(archive)]:
            raise DownloadError(f"The record at {self.url} has no {absent[0]}.")
        self.lock.pin({name: (file.size, file.md5) for name, file in files.items()}, self.url)
        return files

    def _wanted(self, archive: Archive) -> list[Member]:
        """Return the requested recordings of an archive with known members."""
        members = self.lock.members[archive.name]
        return [member for member in members if int(parse_name(member.path).actor) in self.actors]

    def _find_missing(self, archive: Archive) -> list[Member]:
        """Return the requested recordings that are missing or damaged."""
        wanted, missing = self._wanted(archive), []
        with self._bar(f"{archive.name}: checking files", sum(member.size for member in wanted)) as advance:
            for member in wanted:
                if not is_extracted(member, self._folder(archive)):
                    missing.append(member)
                advance(member.size)
        return missing

    def _local(self, archive: Archive) -> Path | None:
        """Return the path of an archive in the folder, complete by its size and the pinned one."""
        size, _ = self.lock.sums.get(archive.name, (None, ""))
        paths = (self.root / archive.name, self._part(archive))
        return next((path for path in paths if path.is_file() and path.stat().st_size == size), None)

    def _part(self, archive: Archive) -> Path:
        """Return the path of a downloaded archive, which is removed after the extraction."""
        return self.root / f"{archive.name}.part"

    def _left(self, archive: Archive) -> int:
        """Return the number of bytes that remain to download."""
        part = self._part(archive)
        return max(0, self.lock.sums[archive.name][0] - (part.stat().st_size if part.exists() else 0))

    def _check_space(self, archives: list[Archive]) -> None:
        """Print the plan, and raise if the disk has too little space."""
        to_fetch = [self._left(archive) for archive in archives if not self._local(archive)]
        needed = max(to_fetch, default=0)  # an archive is removed before the next one
        for archive in archives:
            if archive in self.missing:
                needed += sum(member.size for member in self.missing[archive])
            else:
                needed += archive.extracted_size(self.lock.sums[archive.name][0], self.actors)
        free = shutil.disk_usage(self.root).free
        space = f"about {decimal(needed)} needed, {decimal(free)} free"
        self._print(f"Download: {len(to_fetch)} archive(s), {decimal(sum(to_fetch))}. Disk space: {space}.")
        if needed > free:
            raise DiskSpaceError(
                f"The disk of {self.root} is too small: {space}. Free some space, choose a folder on another disk, or "
                "download a part: --actors 1-4, --modality audio."
            )

    def _complete(self, archive: Archive, remote: RemoteFile | None) -> None:
        """Download an archive if necessary, verify it, and extract the missing recordings."""
        path, part = self._local(archive), self._part(archive)
        if not path:
            assert remote, "the record was read for this archive"
            path, left = part, self._left(archive)
            with self._bar(archive.name, remote.size, remote.size - left) as advance:
                fetch(remote.url, path, remote.size, self._print, advance)
            self.done.fetched += left
        self._check_md5(path, archive)
        if archive not in self.missing:
            self.lock.keep_members(archive.name, list_members(path, archive.parse_member))
            self.missing[archive] = self._find_missing(archive)
        extract_members(path, self.missing[archive], self._folder(archive))
        self.done.extracted += len(self.missing[archive])
        part.unlink(missing_ok=True)
        self._print(f"{archive.name}: verified, {len(self.missing[archive])} recording(s) extracted")

    def _check_md5(self, path: Path, archive: Archive) -> None:
        digest, (_, expected) = hashlib.md5(usedforsecurity=False), self.lock.sums[archive.name]
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        if digest.hexdigest() != expected:
            if path == self._part(archive):
                path.unlink()
            remedy = f"Remove {path}, and" if path.exists() else "It was removed:"
            raise ChecksumError(
                f"{path.name} has md5 {digest.hexdigest()} instead of {expected}: it is damaged. {remedy} rerun the "
                "command to download it again. If that fails too, try later, or from another network."
            )

    def _folder(self, archive: Archive) -> Path:
        return self.root / archive.name.removesuffix(".zip")

    @contextlib.contextmanager
    def _bar(self, name: str, size: int, done: int = 0) -> Iterator[Callable[[int], None]]:
        """Show a progress bar, and yield a function that advances it."""
        task = self.progress.add_task(name, total=size, completed=done)
        try:
            yield lambda count: self.progress.advance(task, count)
        finally:
            self.progress.remove_task(task)

    def _print(self, text: str) -> None:
        """Print a line above the progress bars."""
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
