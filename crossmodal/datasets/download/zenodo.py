"""Published archives of RAVDESS in Zenodo record 1188976."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urljoin

from crossmodal.datasets.ravdess import CHANNELS, NOT_SUNG, Channel, RavdessName, parse_name
from crossmodal.errors import DownloadError

Modality = Literal["audio", "video", "both"]

RECORD_URL = "https://zenodo.org/api/records/1188976"
ACTORS = range(1, 25)

# Published size in bytes and md5 of the audio archives. Those of the video archives are pinned when first seen.
KNOWN_SUMS = {
    "Audio_Speech_Actors_01-24.zip": (208_468_073, "bc696df654c87fed845eb13823edef8a"),
    "Audio_Song_Actors_01-24.zip": (225_505_317, "5411230427d67a21e18aa4d466e6d1b9"),
}

# Extracted size relative to the archive, rounded up. Measured on real recordings: wavs 2.63 and 1.86, mp4s 1.02.
_EXTRACTED = {"audio": 3.0, "video": 1.05}


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record, with its size in bytes."""

    url: str
    size: int
    md5: str


@dataclass(frozen=True)
class Archive:
    """An archive of the record: ``audio`` or ``video`` of ``speech`` or ``song``, with recordings of some actors."""

    name: str
    modality: str
    channel: str
    actors: tuple[int, ...]

    def parse_member(self, path: str) -> RavdessName:
        """Parse the name of a recording; raise ValueError if it does not belong to this archive."""
        name = parse_name(path)
        modalities, suffix = (("03",), ".wav") if self.modality == "audio" else (("01", "02"), ".mp4")
        belongs = name.modality in modalities and CHANNELS[name.channel] == self.channel
        if not belongs or int(name.actor) not in self.actors or PurePosixPath(path).suffix != suffix:
            raise ValueError("not a RAVDESS name of this archive")
        return name

    def extracted_size(self, size: int, actors: Collection[int]) -> int:
        """Estimate the size of the recordings of some actors, from the size of the archive, in bytes."""
        share = len(set(actors) & set(self.actors)) / len(self.actors)
        return round(size * _EXTRACTED[self.modality] * share)


def needed_archives(
    channel: Channel = "both", modality: Modality = "both", actors: Collection[int] = ACTORS
) -> list[Archive]:
    """Return the archives with the requested recordings; there are 49 in all."""
    archives = []
    for name in CHANNELS.values() if channel == "both" else (channel,):
        recorded = tuple(actor for actor in ACTORS if name != "song" or actor != NOT_SUNG)
        needed = [actor for actor in recorded if actor in actors]
        if modality != "video" and needed:
            archives.append(Archive(f"Audio_{name.capitalize()}_Actors_01-24.zip", "audio", name, recorded))
        if modality != "audio":
            archives += [Archive(f"Video_{name.capitalize()}_Actor_{a:02d}.zip", "video", name, (a,)) for a in needed]
    return archives


def read_record(content: bytes, url: str) -> dict[str, RemoteFile]:
    """Read the archives of RAVDESS from the JSON of a record, by name; raise DownloadError if it is invalid.

    The files of a record without a link to its page are expected beside the JSON, so that a folder can be a mirror.
    """
    names = {archive.name for archive in needed_archives()}
    try:
        record = json.loads(content)
        page = (record.get("links") or {}).get("self_html")
        base = f"{page}/files/" if page else url  # the links of the files, to the API, do not support Range
        return {entry["key"]: _remote_file(entry, base) for entry in record["files"] if entry["key"] in names}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DownloadError(
            f"{url} did not respond with the JSON of a record ({type(error).__name__}: {error}). Open it in a browser: "
            "some networks respond with a login page."
        ) from error


def _remote_file(entry: dict[str, Any], base: str) -> RemoteFile:
    size, md5 = entry["size"], str(entry["checksum"]).removeprefix("md5:").lower()
    if not re.fullmatch("[0-9a-f]{32}", md5) or not isinstance(size, int) or size <= 0:
        raise ValueError(f"{entry['key']} has the checksum {entry['checksum']!r} and the size {size!r}")
    return RemoteFile(urljoin(base, f"{entry['key']}?download=1"), size, md5)
