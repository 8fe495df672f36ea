"""`quarantine.json`: the list of files that could not be decoded, with reasons, for users and later runs."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from crossmodal.storage import locked, read_json, remove_leftovers, write_json

QUARANTINE_FILE = "quarantine.json"


@dataclass(frozen=True, order=True)
class Quarantined:
    """A file that could not be decoded."""

    file: str
    wanted: str  # ``waveforms`` or ``faces``
    reason: str
    lasting: bool  # True if a retry would fail as well
    sha256: str  # of the content, to recognise a replaced file
    key: str  # of the array in the cache


class Quarantine:
    """List of damaged files in a cache folder, for use by several processes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / QUARANTINE_FILE
        self._known = self._read()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def reasons(self) -> dict[str, str]:
        """Reasons of lasting failures, by cache key."""
        return {entry.key: entry.reason for entry in self._known if entry.lasting}

    def update(self, damaged: Collection[Quarantined], whole: Collection[str], hashes: Mapping[str, str]) -> None:
        """Add the failures of a run; entries of repaired, replaced or removed files are dropped.

        `whole` has the cache keys of the arrays that exist, and `hashes` the SHA-256 of the files of the run, by path.
        """
        with locked(self.path.with_suffix(".lock")) as state:
            if state == "held":
                remove_leftovers(self.path)
            now = self._read()
            kept = {
                (entry.file, entry.key): entry
                for entry in now
                if entry.key not in whole
                and hashes.get(entry.file, entry.sha256) == entry.sha256
                and Path(entry.file).exists()
            }
            self._known = sorted({**kept, **{(entry.file, entry.key): entry for entry in damaged}}.values())
            if self._known != now:
                write_json(self.path, [asdict(entry) for entry in self._known])

    def _read(self) -> list[Quarantined]:
        try:
            known = [Quarantined(**entry) for entry in read_json(self.path) or []]
            return [one for one in known if all(isinstance(value, str | bool) for value in vars(one).values())]
        except (RecursionError, TypeError):  # another format; its content can be computed again
            return []
