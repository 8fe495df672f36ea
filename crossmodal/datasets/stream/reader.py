"""A corpus as a stream: waveforms and face crops in chunks of litdata, in a folder or in object storage.

``waveforms`` and ``faces`` have one array per clip. ``about`` has one JSON text, because litdata writes no other files
to object storage. It is written last: if it exists, the stream is complete.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.datasets.cache import FaceCrops, PreparedCorpus
from crossmodal.datasets.clip import Clip, ExcludedClip
from crossmodal.datasets.ravdess import Channel
from crossmodal.datasets.source import CorpusKind, CorpusSource
from crossmodal.datasets.splits.protocols import LABEL_SETS, LabelSet, Protocol, in_label_set, label_set_for
from crossmodal.errors import ConfigError, CorpusNotFoundError, DataError, MissingExtraError
from crossmodal.media import Box
from crossmodal.storage import cache_dir

# Increase when the layout of a stream changes; readers reject other versions.
VERSION = 2
ABOUT, ARRAYS = "about", ("waveforms", "faces")
_ADVICE = "write one with `crossmodal data prepare ... --to litdata`, or check the path or URL."


@dataclass(frozen=True)
class StreamAbout:
    """Description of a stream."""

    kind: CorpusKind
    name: str
    protocol: Protocol
    labels: tuple[str, ...] | None  # of a manifest, in the order of class indices; None for RAVDESS
    crops: FaceCrops
    clips: list[Clip]  # in the order of the arrays; audio and video are the names of their arrays


@dataclass(frozen=True)
class StreamSource(CorpusSource):
    """Corpus of a stream, whose arrays are read by clip: in object storage, a clip is two requests for its bytes."""

    path: str = field()  # without the default of the base class
    about: StreamAbout = field()
    face_box: Box = field()
    channel: Channel | None = None
    label_set: LabelSet | None = None
    _readers: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list), repr=False)

    @property
    def kind(self) -> CorpusKind:
        """Kind of the corpus that was written."""
        return self.about.kind

    @property
    def name(self) -> str:
        """Name of the corpus that was written."""
        return self.about.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the label set or of the manifest."""
        return LABEL_SETS[self.label_set] if self.label_set else self.about.labels or ()

    @property
    def protocol(self) -> Protocol:
        """Default protocol of the corpus that was written."""
        return self.about.protocol

    def index(self) -> tuple[list[Clip], list[ExcludedClip]]:
        """Return the clips of the channel."""
        return [clip for clip in self.about.clips if self.channel in (None, "both", clip.channel)], []

    def holds(self, clip: Clip) -> bool:
        """Return True if a clip belongs to the label set."""
        return self.label_set is None or in_label_set(clip, self.label_set)

    def prepare(self, clips: Sequence[Clip], *, audio: bool, crops: FaceCrops | None, folder: Path) -> PreparedCorpus:
        """Return the names of the arrays of clips; raise ConfigError if the face crops have other settings."""
        written = self.about.crops
        if crops and replace(crops, detector=crops.detector or written.detector) != written:
            raise ConfigError(f"The stream {self.path} has {written}, not {crops}: use the same settings.")
        waveforms = {clip.clip: clip.audio for clip in clips if audio and clip.audio}
        faces = {clip.clip: clip.video for clip in clips if crops and clip.video}
        return PreparedCorpus(list(clips), waveforms, faces, excluded=[], made=0, reused=len(waveforms) + len(faces))

    def read(self, path: Path) -> NDArray[np.generic]:
        """Return a copy of the array with this name."""
        idle = self._readers[path.parts[0]]  # a dataset of litdata serves one thread at a time
        try:
            reader = idle.pop()
        except IndexError:
            reader = _open(self.path, path.parts[0])
        try:
            return np.array(reader[self._rows[path]])
        finally:
            idle.append(reader)

    @cached_property
    def _rows(self) -> dict[Path, int]:
        """Row of each array in its dataset."""
        return {path: row for row, clip in enumerate(self.about.clips) for path in (clip.audio, clip.video) if path}


def open_stream(stream: str, channel: Channel, label_set: LabelSet | None) -> StreamSource:
    """Open a folder or URL that `write_stream` wrote; channel and label set are for RAVDESS only.

    Raises:
        ConfigError: If the label set does not match the channel.
        CorpusNotFoundError: If the stream does not exist.
        DataError: If it is damaged or has another version.
        MissingExtraError: If litdata is not installed.
    """
    about = read_about(stream)
    if about.labels is None:
        return StreamSource(stream, about, about.crops.box, channel, label_set_for(channel, label_set))
    return StreamSource(stream, about, about.crops.box)


def read_about(stream: str) -> StreamAbout:
    """Read the description of a stream, and check the files of a folder. For errors see `open_stream`."""
    require_litdata()
    if not is_remote(stream):
        if not (Path(stream) / ABOUT / "index.json").is_file():
            raise CorpusNotFoundError(f"No stream found in {stream}: {_ADVICE}")
        _check_chunks(Path(stream))
    try:
        about = json.loads(bytes(_open(stream, ABOUT)[0]))
        version = about.pop("version")
        if version == VERSION:
            return _parse(**about)
    except Exception as error:  # litdata passes on exceptions of storage packages
        raise DataError(f"Cannot read the stream {stream} ({error}): {_ADVICE}") from error
    raise DataError(f"{stream} has version {version}, but this crossmodal reads version {VERSION}: {_ADVICE}")


def _parse(labels: list[str] | None, crops: dict[str, Any], clips: list[dict[str, Any]], **about: Any) -> StreamAbout:
    """Return a description from its JSON values."""
    return StreamAbout(
        labels=tuple(labels) if labels is not None else None,
        crops=FaceCrops(**{**crops, "box": tuple(crops["box"])}),
        clips=[Clip(**{**clip, "audio": Path(clip["audio"]), "video": Path(clip["video"])}) for clip in clips],
        **about,
    )


def _check_chunks(stream: Path) -> None:
    """Check that every chunk of a folder exists and has the right size."""
    for name in ARRAYS:
        try:
            chunks = json.loads((stream / name / "index.json").read_text(encoding="utf-8"))["chunks"]
            sizes = {stream / name / chunk["filename"]: chunk["chunk_bytes"] for chunk in chunks}
            wrong = [path for path, size in sizes.items() if path.stat().st_size != size]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"The stream in {stream} is damaged ({error}): copy or write it again.") from error
        if wrong:
            raise DataError(f"The stream in {stream} is damaged ({wrong[0]} is truncated): copy or write it again.")


def is_remote(stream: str) -> bool:
    """Return True for a URL. ``local:`` is a prefix of litdata for a folder that is read as if it were remote."""
    return "://" in stream or stream.startswith("local:")


def part_of(stream: str, name: str) -> str:
    """Return the path or URL of one dataset of a stream."""
    return f"{stream.rstrip('/')}/{name}" if is_remote(stream) else str(Path(stream).absolute() / name)


def require_litdata() -> Any:
    """Import litdata; raise MissingExtraError if it is not installed."""
    try:
        import litdata
    except ModuleNotFoundError as error:
        raise MissingExtraError("Streams need the package litdata: pip install 'crossmodal[stream]'") from error
    return litdata


def _open(stream: str, name: str) -> Any:
    cache = str(cache_dir() / "streams")  # for the index of a URL
    return require_litdata().StreamingDataset(part_of(stream, name), cache_dir=cache, batch_decode=0)
