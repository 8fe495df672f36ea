"""Lock file of a downloaded corpus, which pins all checksums to detect changes."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from crossmodal.datasets.download.archive import Member
from crossmodal.errors import ChecksumError, DataError
from crossmodal.storage import write_json

LOCK_FILE = "ravdess.lock.json"


class LockFile:
    """Pinned size in bytes and md5 (`sums`), and members of archives, by name. A damaged file raises DataError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sums: dict[str, tuple[int, str]] = {}
        self.members: dict[str, list[Member]] = {}
        if not path.exists():
            return
        try:
            for name, archive in json.loads(path.read_text(encoding="utf-8"))["archives"].items():
                self.sums[name] = int(archive["size"]), str(archive["md5"])
                lines = ((member, *line.split(" ")) for member, line in archive["crc32_and_size"].items())
                if members := [Member(member, int(size), int(crc32, 16)) for member, crc32, size in lines]:
                    self.members[name] = members
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, OSError) as error:
            raise DataError(
                f"Cannot read {path} ({type(error).__name__}: {error}). It has the checksums of the archives in "
                "this folder. Restore it, or remove it to check and download everything again."
            ) from error

    def pin(self, sums: Mapping[str, tuple[int, str]], source: str) -> None:
        """Pin the size and the md5 of archives; `source` is their source for the error message.

        If an archive was pinned with another size or md5, ChecksumError is raised and nothing is pinned.
        """
        for name, (size, md5) in sums.items():
            if (pinned := self.sums.get(name, (size, md5))) != (size, md5):
                raise ChecksumError(
                    f"{self.path} pins {name} to {pinned[0]} bytes and md5 {pinned[1]}, but {source} has {size} bytes "
                    f"and md5 {md5}. Published archives should not change, so nothing was downloaded. If you trust "
                    "the new archive, remove the lock file and rerun the command."
                )
        if not sums.keys() <= self.sums.keys():
            self.sums.update(sums)
            self._save()

    def keep_members(self, archive: str, members: Iterable[Member]) -> None:
        """Store the members of a pinned archive, so that recordings can be verified without it."""
        self.members[archive] = list(members)
        self._save()

    def _save(self) -> None:
        archives = {}
        for name, (size, md5) in sorted(self.sums.items()):
            lines = {member.path: f"{member.crc32:08x} {member.size}" for member in self.members.get(name, ())}
            archives[name] = {"size": size, "md5": md5, "crc32_and_size": lines}
        write_json(self.path, {"record": "https://doi.org/10.5281/zenodo.1188976", "archives": archives})
