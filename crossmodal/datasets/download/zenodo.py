"""Published archives of RAVDESS in Zenodo record 1188976."""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import quote, urljoin

from crossmodal.datasets.download.web import RemoteFile
from crossmodal.datasets.ravdess import CHANNELS, MODALITIES, NOT_SUNG, Channel, RavdessName, parse_name
from crossmodal.errors import ChecksumError, DownloadError

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
class Archive:
    """An archive of the record.

    Args:
        name: File name.
        modality: ``audio`` or ``video``.
        channel: ``speech`` or ``song``.
        actors: Actors with recordings in the archive.
    """

    name: str
    modality: str
    channel: str
    actors: tuple[int, ...]

    @property
    def folder(self) -> str:
        """Name of the folder for its recordings."""
        return PurePosixPath(self.name).stem

    def parse_member(self, path: str) -> RavdessName:
        """Parse the name of a recording in this archive.

        Raises:
            ValueError: If it is not a RAVDESS name, or the recording does not belong to this archive.
        """
        name = parse_name(path)
        kinds, suffix = (("03",), ".wav") if self.modality == "audio" else (("01", "02"), ".mp4")
        if PurePosixPath(path).suffix != suffix:
            raise ValueError(f"not a RAVDESS name: it does not end in {suffix}")
        if name.modality not in kinds:
            raise ValueError(f"{MODALITIES[name.modality]} in an archive of {self.modality}")
        if CHANNELS[name.channel] != self.channel:
            raise ValueError(f"{CHANNELS[name.channel]} in an archive of {self.channel}")
        if int(name.actor) not in self.actors:
            raise ValueError(f"actor {name.actor} in an archive without that actor")
        return name

    def extracted_size(self, size: int, actors: Collection[int]) -> int:
        """Estimate the size of the recordings of some actors in bytes.

        Args:
            size: Size of the archive in bytes.
            actors: Requested actors.
        """
        share = len(set(actors) & set(self.actors)) / len(self.actors)
        return round(size * _EXTRACTED[self.modality] * share)


def published_archives() -> Iterator[Archive]:
    """Yield the 49 archives of the record."""
    for channel in CHANNELS.values():
        actors = tuple(actor for actor in ACTORS if channel != "song" or actor != NOT_SUNG)
        yield Archive(f"Audio_{channel.capitalize()}_Actors_01-24.zip", "audio", channel, actors)
        for actor in actors:
            yield Archive(f"Video_{channel.capitalize()}_Actor_{actor:02d}.zip", "video", channel, (actor,))


def needed_archives(channel: Channel, modality: Modality, actors: Collection[int]) -> list[Archive]:
    """Return the archives with the requested recordings.

    Example:
        >>> [archive.name for archive in needed_archives("song", "both", [17, 18])]
        ['Audio_Song_Actors_01-24.zip', 'Video_Song_Actor_17.zip']
    """
    return [
        archive
        for archive in published_archives()
        if channel in ("both", archive.channel)
        and modality in ("both", archive.modality)
        and set(actors) & set(archive.actors)
    ]


def read_record(content: bytes, url: str) -> dict[str, RemoteFile]:
    """Read the archives of RAVDESS from the JSON of a record, by name.

    Supported formats are Zenodo's current one, that before 2023, and InvenioRDM's. Links may be relative, and a file
    without a link is expected beside the JSON, so that a mirror can be a folder with the archives and the JSON.

    Args:
        content: The JSON.
        url: URL of the JSON.

    Raises:
        DownloadError: If the JSON is invalid or has no archive of RAVDESS.
        ChecksumError: If an archive has another checksum than the known one.
    """
    try:
        record = json.loads(content)
        names = {archive.name for archive in published_archives()}
        entries = [entry for entry in _entries(record) if _name(entry) in names]
        files = {_name(entry): _remote_file(entry, record, url) for entry in entries}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DownloadError(
            f"{url} did not respond with the JSON of a record ({type(error).__name__}: {error}). Open it in a browser: "
            "some networks respond with a login page."
        ) from error
    if not files:
        raise DownloadError(f"The record at {url} has no archive of RAVDESS, such as {min(names)}.")
    for name, known in KNOWN_SUMS.items():
        if name in files and (files[name].size, files[name].md5) != known:
            raise ChecksumError(
                f"The published {name} has {known[0]} bytes and md5 {known[1]}, but the record at {url} has "
                f"{files[name].size} bytes and md5 {files[name].md5}. Nothing was downloaded."
            )
    return files


def _entries(record: Any) -> list[dict[str, Any]]:
    files = record["files"]
    if isinstance(files, dict):  # format of InvenioRDM
        entries = files["entries"]
        return list(entries.values()) if isinstance(entries, dict) else list(entries)
    return list(files)


def _name(entry: dict[str, Any]) -> str:
    name = entry["key"]
    if not isinstance(name, str):
        raise TypeError(f"the name of a file is {name!r}")
    return name


def _remote_file(entry: dict[str, Any], record: dict[str, Any], url: str) -> RemoteFile:
    name, md5 = _name(entry), str(entry["checksum"]).removeprefix("md5:").lower()
    size = entry["size"]
    if not re.fullmatch("[0-9a-f]{32}", md5):
        raise ValueError(f"the checksum of {name} is {entry['checksum']!r}, not an md5")
    if not isinstance(size, int) or size <= 0:
        raise ValueError(f"the size of {name} is {size!r}")
    links = entry.get("links") or {}
    paths = [links.get("content") or links.get("self") or quote(name)]
    # The link of the web page on zenodo.org supports Range; the link of the API does not.
    if page := (record.get("links") or {}).get("self_html"):
        paths.insert(0, f"{page}/files/{quote(name)}?download=1")
    return RemoteFile(name, size, md5, tuple(urljoin(url, path) for path in paths))
