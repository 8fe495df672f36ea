"""Target folder of a download: finds missing recordings, and downloads and extracts their archives."""

import hashlib
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.progress import Progress

from crossmodal.datasets.download.archive import Member, extract_members, is_extracted, list_members
from crossmodal.datasets.download.http import Downloader
from crossmodal.datasets.download.lock_file import LOCK_FILE, LockFile
from crossmodal.datasets.download.threads import FileBar
from crossmodal.datasets.download.web import RemoteFile
from crossmodal.datasets.download.zenodo import Archive
from crossmodal.datasets.ravdess import parse_name
from crossmodal.errors import DiskSpaceError


def bytes_text(size: float) -> str:
    """Format a number of bytes.

    Example:
        >>> bytes_text(208_468_073), bytes_text(12_900_000_000)
        ('208 MB', '12.9 GB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size:.0f} bytes"


@dataclass
class Job:
    """State of an archive.

    Args:
        archive: The archive.
        keep: True to keep the archive itself in the folder.
        wanted: Requested recordings; None if the members of the archive are unknown.
        missing: Requested recordings that are missing or damaged.
        local: Path of the verified archive, if it is on the disk.
        remote: Remote file of the archive, if it must be downloaded.
        extracted: Number of extracted recordings.
        replaced: Number of extracted recordings that replaced a different file.
        fetched: Number of downloaded bytes.
    """

    archive: Archive
    keep: bool = False
    wanted: list[Member] | None = None
    missing: list[Member] | None = None
    local: Path | None = None
    remote: RemoteFile | None = None
    extracted: int = 0
    replaced: int = 0
    fetched: int = 0

    @property
    def done(self) -> bool:
        """True if all wanted recordings are present."""
        return self.missing == [] and not (self.keep and self.local is None)

    @property
    def needs_archive(self) -> bool:
        """True if the archive must be downloaded."""
        return not self.done and self.local is None


class DownloadFolder:
    """A folder with downloaded recordings.

    Partial files are in its sub-folder ``.download``, so that a download can be interrupted at any time.

    Args:
        root: Path of the folder.
        actors: Actors whose recordings are requested.
        keep_archives: True to keep the archives in the folder.
        downloader: Downloader for the archives.
        progress: Progress display.
    """

    def __init__(
        self, root: Path, actors: Collection[int], keep_archives: bool, downloader: Downloader, progress: Progress
    ) -> None:
        self.root = root
        self.keep_archives = keep_archives
        self.lock = LockFile(root / LOCK_FILE)
        self._actors = set(actors)
        self._downloader = downloader
        self._progress = progress
        self._rejected: set[Path] = set()
        self._work = root / ".download"
        self._work.mkdir(exist_ok=True)
        for path in [*self._work.glob("*.tmp"), *root.glob(f".{LOCK_FILE}.*.tmp")]:
            path.unlink()  # left by a killed run

    def print_line(self, text: str) -> None:
        """Print a line above the progress bars."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Stop the downloads in all threads."""
        self._downloader.stop()

    def inspect(self, archive: Archive) -> Job:
        """Find the existing recordings of an archive, without using the network."""
        job = Job(archive, self.keep_archives)
        if (members := self.lock.members(archive.name)) is not None:
            job.wanted = self._requested(members)
            job.missing = self._missing(archive, job.wanted)
        if not job.done:
            job.local = self.find_archive(archive)
        elif not self.keep_archives:  # left by a run that was killed after the extraction
            self._part(archive).unlink(missing_ok=True)
            (self._work / archive.name).unlink(missing_ok=True)
        return job

    def find_archive(self, archive: Archive) -> Path | None:
        """Return the path of a complete archive with the pinned size and checksum, or None."""
        pinned = self.lock.pinned(archive.name)
        if pinned is None:
            return None
        for path in (self.root / archive.name, self._work / archive.name):
            if path.is_file() and path not in self._rejected:
                mismatch = self._mismatch(path, *pinned)
                if not mismatch:
                    return self._keep(path)
                self.print_line(f"{path} differs from the published archive and is ignored: {mismatch}.")
                self._rejected.add(path)
        return None

    def part_size(self, job: Job) -> int:
        """Return the number of bytes that earlier runs downloaded."""
        part = self._part(job.archive)
        return part.stat().st_size if part.exists() else 0

    def still_to_fetch(self, job: Job) -> int:
        """Return the number of bytes that remain to download."""
        return max(0, job.remote.size - self.part_size(job)) if job.remote else 0

    def still_to_extract(self, job: Job) -> int:
        """Estimate the size of the missing recordings in bytes."""
        if job.missing is not None:
            return sum(member.size for member in job.missing)
        size, _ = self.lock.pinned(job.archive.name) or (0, "")
        return job.archive.extracted_size(size, self._actors)

    def complete(self, job: Job, whole: FileBar | None) -> None:
        """Download an archive if necessary, verify it, and extract the missing recordings.

        Args:
            job: Job of the archive.
            whole: Bar of the total, if anything is downloaded.

        Raises:
            DownloadError: If the download fails.
            ArchiveError: If the archive is damaged or rejected.
            DiskSpaceError: If the recordings do not fit on the disk.
        """
        name = job.archive.name
        path = job.local or self._fetch(job, whole)
        members = list_members(path, job.archive.parse_member)
        self.lock.keep_members(name, members)
        job.wanted = self._requested(members)
        job.missing = self._missing(job.archive, job.wanted)
        self._extract(job, path, job.missing)
        if path.parent == self._work:
            path.unlink()
        job.missing = []
        self.print_line(f"{name}: verified, {job.extracted} recording(s) extracted")

    def tidy(self) -> None:
        """Remove the folder of partial files if it is empty."""
        if not any(self._work.iterdir()):
            self._work.rmdir()

    def _fetch(self, job: Job, whole: FileBar | None) -> Path:
        assert job.remote is not None, "the record was read for missing archives"
        path, resumed = self._work / job.remote.name, self.part_size(job)
        with FileBar(self._progress, job.remote.name, job.remote.size, whole, resumed) as bar:
            self._downloader.fetch(job.remote, path, bar)
        job.fetched = job.remote.size - resumed
        return self._keep(path)

    def _part(self, archive: Archive) -> Path:
        return self._work / f"{archive.name}.part"

    def _keep(self, path: Path) -> Path:
        """Move a verified archive to the folder if archives are kept, and return its path."""
        return path.replace(self.root / path.name) if self.keep_archives else path

    def _extract(self, job: Job, path: Path, missing: Sequence[Member]) -> None:
        size = sum(member.size for member in missing)
        if size > (free := shutil.disk_usage(self.root).free):
            raise DiskSpaceError(
                f"{job.archive.name}: its recordings need {bytes_text(size)}, but the disk of {self.root} has only "
                f"{bytes_text(free)} free."
            )
        folder = self.root / job.archive.folder
        job.replaced = sum((folder / member.path).exists() for member in missing)
        with FileBar(self._progress, f"{job.archive.name}: extracting", size) as bar:
            extract_members(path, missing, folder, self._work, partial(self._read, bar=bar))
        job.extracted = len(missing)

    def _requested(self, members: Sequence[Member]) -> list[Member]:
        return [member for member in members if int(parse_name(member.path).actor) in self._actors]

    def _missing(self, archive: Archive, wanted: Sequence[Member]) -> list[Member]:
        folder = self.root / archive.folder
        size = sum(member.size for member in wanted)
        with FileBar(self._progress, f"{archive.name}: checking existing files", size) as bar:
            on_bytes = partial(self._read, bar=bar)
            return [member for member in wanted if not is_extracted(member, folder, on_bytes)]

    def _mismatch(self, path: Path, size: int, md5: str) -> str:
        """Return a message if the size or md5 of an archive is wrong, else an empty string."""
        if path.stat().st_size != size:
            return f"it has {path.stat().st_size} bytes, not {size}"
        digest = hashlib.md5(usedforsecurity=False)
        with FileBar(self._progress, f"{path.name}: verifying", size) as bar, path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
                self._read(len(piece), bar)
        return "" if digest.hexdigest() == md5 else f"its md5 is {digest.hexdigest()}, not {md5}"

    def _read(self, count: int, bar: FileBar) -> None:
        self._downloader.check_stopped()
        bar.advance(count)
