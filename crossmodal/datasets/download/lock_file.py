"""Lock file of a downloaded corpus, which pins all checksums to detect changes."""

import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from crossmodal.datasets.download.archive import Member
from crossmodal.errors import ChecksumError, DataError
from crossmodal.storage import write_json

LOCK_FILE = "ravdess.lock.json"
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)  # 1e999 bytes; deep brackets


class LockFile:
    """Pinned sizes, checksums and members of archives. It is thread-safe.

    Args:
        path: Path of the JSON file, which need not exist.

    Raises:
        DataError: If the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._pins: dict[str, tuple[int, str]] = {}
        self._members: dict[str, list[Member]] = {}
        if path.exists():
            try:
                archives = json.loads(path.read_text(encoding="utf-8"))["archives"]
                self._pins = {name: (int(archive["size"]), str(archive["md5"])) for name, archive in archives.items()}
                self._members = {name: _read_members(archive) for name, archive in archives.items()}
            except (*_DAMAGE, OSError) as error:
                raise DataError(
                    f"Cannot read {path} ({type(error).__name__}: {error}). It has the checksums of the archives in "
                    "this folder. Restore it, or remove it to check and download everything again."
                ) from error

    def pin(self, sums: Mapping[str, tuple[int, str]], source: str) -> None:
        """Pin the sizes and checksums of archives.

        Args:
            sums: Size in bytes and md5 of each archive.
            source: Source of the checksums, for the error message.

        Raises:
            ChecksumError: If an archive was pinned with another size or md5. Then nothing is pinned.
        """
        with self._lock:
            for name, new in sums.items():
                pinned = self._pins.get(name, new)
                if pinned != new:
                    raise ChecksumError(
                        f"{self.path} pins {name} to {pinned[0]} bytes and md5 {pinned[1]}, but {source} has {new[0]} "
                        f"bytes and md5 {new[1]}. Published archives should not change, so nothing was downloaded. If "
                        "you trust the new archive, remove the lock file and rerun the command."
                    )
            if not sums.keys() <= self._pins.keys():
                self._pins.update(sums)
                self._save()

    def pinned(self, archive: str) -> tuple[int, str] | None:
        """Return the size in bytes and the md5 of an archive; None if it is not pinned."""
        return self._pins.get(archive)

    def members(self, archive: str) -> list[Member] | None:
        """Return the members of an archive; None if they are unknown."""
        return self._members.get(archive) or None

    def all_members(self) -> list[Member]:
        """Return all known members of all archives."""
        return [member for members in self._members.values() for member in members]

    def keep_members(self, archive: str, members: Iterable[Member]) -> None:
        """Store the members of a pinned archive, so that recordings can be verified without it."""
        with self._lock:
            self._members[archive] = list(members)
            self._save()

    def _save(self) -> None:
        archives = {
            name: {"size": size, "md5": md5, "crc32_and_size": _lines(self._members.get(name, ()))}
            for name, (size, md5) in sorted(self._pins.items())
        }
        write_json(self.path, {"record": "https://doi.org/10.5281/zenodo.1188976", "archives": archives})


def _lines(members: Iterable[Member]) -> dict[str, str]:
    return {member.path: f"{member.crc32:08x} {member.size}" for member in members}


def _read_members(archive: dict[str, Any]) -> list[Member]:
    lines = ((path, *line.split(" ")) for path, line in archive["crc32_and_size"].items())
    return [Member(path, int(size), int(crc32, 16)) for path, crc32, size in lines]
