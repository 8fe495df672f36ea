"""The target folder of a download: finds missing recordings, and fetches and extracts their archives."""

import hashlib
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from crossmodal.datasets.download.archive import Member, extract_members, is_there, list_members
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
    """One archive: wanted members, missing members, and progress.

    Args:
        archive: Which.
        keep: Whether the archive itself is wanted in the folder.
        wanted: The recordings that are asked for; None as long as nobody has looked into the archive.
        missing: Those of them that are not there, or not whole.
        local: The archive, where it is on the disk and right.
        remote: The archive, where it is to be fetched.
        extracted: How many recordings were extracted.
        replaced: How many of them were there and differed.
        fetched: How many bytes were fetched.
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
    def lacks_archive(self) -> bool:
        """True if the archive must be fetched."""
        return not self.done and self.local is None


class DownloadFolder:
    """A folder to download recordings of archives to.

    What is not whole yet lies in ``.download``, and the folder may be left at any moment.

    Args:
        root: The folder.
        actors: Whose recordings are asked for.
        keep_archives: Whether the archives are wanted as well.
        downloader: Fetches them.
        progress: Shows it.
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
        self._refused: set[Path] = set()
        self._work = root / ".download"
        self._work.mkdir(exist_ok=True)
        for path in [*self._work.glob("*.tmp"), *root.glob(f".{LOCK_FILE}.*.tmp")]:
            path.unlink()  # of a run that was killed

    def say(self, text: str) -> None:
        """Print a line above the progress bars."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Stop the work of other threads."""
        self._downloader.stop()

    def look(self, archive: Archive) -> Job:
        """Find the recordings of an archive that are present, without the network."""
        job = Job(archive, self.keep_archives)
        if (members := self.lock.members(archive.name)) is not None:
            job.wanted = self._asked_for(members)
            job.missing = self._missing(archive, job.wanted)
        if not job.done:
            job.local = self.find_archive(archive)
        elif not self.keep_archives:  # of a run that was killed at its end
            self._part(archive).unlink(missing_ok=True)
            (self._work / archive.name).unlink(missing_ok=True)
        return job

    def find_archive(self, archive: Archive) -> Path | None:
        """Return the path of a complete archive with the pinned size and checksum, or None."""
        pinned = self.lock.pinned(archive.name)
        if pinned is None:
            return None
        for path in (self.root / archive.name, self._work / archive.name):
            if path.is_file() and path not in self._refused:
                wrong = self._difference(path, *pinned)
                if not wrong:
                    return self._put_away(path)
                self.say(f"{path} is not as published, and is not used: {wrong}.")
                self._refused.add(path)
        return None

    def part_size(self, job: Job) -> int:
        """Return the number of bytes of an archive from an earlier run."""
        part = self._part(job.archive)
        return part.stat().st_size if part.exists() else 0

    def still_to_fetch(self, job: Job) -> int:
        """Return the number of bytes of an archive to download."""
        return max(0, job.remote.size - self.part_size(job)) if job.remote else 0

    def still_to_extract(self, job: Job) -> int:
        """Estimate the size of the missing recordings in bytes."""
        if job.missing is not None:
            return sum(member.size for member in job.missing)
        size, _ = self.lock.pinned(job.archive.name) or (0, "")
        return job.archive.extracted_size(size, self._actors)

    def complete(self, job: Job, whole: FileBar | None) -> None:
        """Fetch an archive if necessary, verify it, and extract the missing recordings.

        Args:
            job: Which.
            whole: The bar of all archives, if there is anything to fetch.

        Raises:
            DownloadError: The archive cannot be had.
            ArchiveError: It is damaged or refused.
            DiskSpaceError: What is in it has no room.
        """
        name = job.archive.name
        path = job.local or self._fetch(job, whole)
        members = list_members(path, job.archive.parse_member)
        self.lock.keep_members(name, members)
        job.wanted = self._asked_for(members)
        job.missing = self._missing(job.archive, job.wanted)
        self._extract(job, path, job.missing)
        if path.parent == self._work:
            path.unlink()
        job.missing = []
        self.say(f"{name}: verified, {job.extracted} recording(s) extracted")

    def tidy(self) -> None:
        """Remove the folder of partial files if it is empty."""
        if not any(self._work.iterdir()):
            self._work.rmdir()

    def _fetch(self, job: Job, whole: FileBar | None) -> Path:
        assert job.remote is not None, "an archive that is not here was looked up in the record"
        path, here = self._work / job.remote.name, self.part_size(job)
        with FileBar(self._progress, job.remote.name, job.remote.size, whole, here) as bar:
            self._downloader.fetch(job.remote, path, bar)
        job.fetched = job.remote.size - here
        return self._put_away(path)

    def _part(self, archive: Archive) -> Path:
        return self._work / f"{archive.name}.part"

    def _put_away(self, path: Path) -> Path:
        """Move a verified archive to the folder if archives are kept, and return its path."""
        return path.replace(self.root / path.name) if self.keep_archives else path

    def _extract(self, job: Job, path: Path, missing: Sequence[Member]) -> None:
        size = sum(member.size for member in missing)
        if size > (free := shutil.disk_usage(self.root).free):
            raise DiskSpaceError(
                f"{job.archive.name}: its recordings need {bytes_text(size)} more, and the disk of {self.root} has "
                f"{bytes_text(free)} free."
            )
        folder = self.root / job.archive.folder
        job.replaced = sum((folder / member.path).exists() for member in missing)
        with FileBar(self._progress, f"{job.archive.name}: extracting", size) as bar:
            extract_members(path, missing, folder, self._work, lambda count: self._read(count, bar))
        job.extracted = len(missing)

    def _asked_for(self, members: Sequence[Member]) -> list[Member]:
        return [member for member in members if int(parse_name(member.path).actor) in self._actors]

    def _missing(self, archive: Archive, wanted: Sequence[Member]) -> list[Member]:
        folder = self.root / archive.folder
        size = sum(member.size for member in wanted)
        with FileBar(self._progress, f"{archive.name}: looking at what is there", size) as bar:
            return [member for member in wanted if not is_there(member, folder, lambda count: self._read(count, bar))]

    def _difference(self, path: Path, size: int, md5: str) -> str:
        """Return a message if an archive is invalid, else an empty string."""
        if path.stat().st_size != size:
            return f"it has {path.stat().st_size} bytes, not {size}"
        digest = hashlib.md5(usedforsecurity=False)
        with FileBar(self._progress, f"{path.name}: verifying", size) as bar, path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
                self._read(len(piece), bar)
        return "" if digest.hexdigest() == md5 else f"its md5 is {digest.hexdigest()}, not {md5}"

    def _read(self, count: int, bar: FileBar) -> None:
        self._downloader.look_up()
        bar.advance(count)
