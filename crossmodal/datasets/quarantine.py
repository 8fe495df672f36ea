"""`quarantine.json`: which files could not be decoded, and why, for a person to read and for the next run to know."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from crossmodal.storage import locked, read_json, remove_leftovers, write_json

QUARANTINE_FILE = "quarantine.json"


@dataclass(frozen=True, order=True)
class Quarantined:
    """One file that could not be decoded.

    Args:
        file: Its path.
        wanted: What was to be made of it: ``waveforms`` or ``faces``.
        reason: In words for a person.
        lasting: Whether another try would end alike.
        sha256: Of its content: another content is another file.
        key: Of the array that could not be made.
    """

    file: str
    wanted: str
    reason: str
    lasting: bool
    sha256: str
    key: str


class Quarantine:
    """The list in a cache's folder; several processes may add to it.

    Args:
        folder: The cache.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / QUARANTINE_FILE
        self._known = self._read()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def reasons(self) -> dict[str, str]:
        """Why arrays cannot be made, by key, where that will not change."""
        return {entry.key: entry.reason for entry in self._known if entry.lasting}

    def update(self, damaged: Collection[Quarantined], whole: Collection[str], hashes: Mapping[str, str]) -> None:
        """Write down what a run found; a file that was mended, replaced or removed is taken off the list.

        Args:
            damaged: What could not be decoded.
            whole: The keys of the arrays that are there.
            hashes: The SHA-256 of each file that the run met, by its path.
        """
        with locked(self.path.with_suffix(".lock")) as state:
            if state == "held":
                remove_leftovers(self.path)
            now = self._read()
            seen = {(entry.file, entry.key) for entry in damaged}
            kept = [
                entry
                for entry in now
                if entry.key not in whole
                and (entry.file, entry.key) not in seen
                and hashes.get(entry.file, entry.sha256) == entry.sha256
                and Path(entry.file).exists()
            ]
            self._known = sorted([*kept, *damaged])
            if self._known != now:
                write_json(self.path, [asdict(entry) for entry in self._known])

    def _read(self) -> list[Quarantined]:
        try:
            known = [Quarantined(**entry) for entry in read_json(self.path) or []]
            return [one for one in known if all(isinstance(value, str | bool) for value in vars(one).values())]
        except (RecursionError, TypeError):  # not of this make; what it said can be found out again
            return []
