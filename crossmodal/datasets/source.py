"""Corpora for a run: a RAVDESS folder, the built-in synthetic corpus, or a manifest."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmodal.datasets.cache import FaceCrops, PreparedCorpus, prepare_corpus
from crossmodal.datasets.clip import Clip, ExcludedClip
from crossmodal.datasets.manifest import ManifestIndex, index_manifest
from crossmodal.datasets.ravdess import FACE_BOX, Channel, index_ravdess
from crossmodal.datasets.splits.protocols import LABEL_SETS, LabelSet, Protocol, in_label_set
from crossmodal.datasets.stored_array import open_array
from crossmodal.datasets.synthetic import SYNTHETIC_MARKER, synthesize
from crossmodal.media import Box

CorpusKind = Literal["synthetic", "ravdess", "manifest"]
# Actors of the built-in corpus: it is created in half a minute, and fills four folds of seq6.
SYNTHETIC_ACTORS = 16


class CorpusSource(ABC):
    """Base class of corpora. A corpus of your own only has to implement `index`."""

    path: Path | str = ""
    """Path of the folder or the manifest, or the folder or URL of a stream."""
    face_box: Box = (0.0, 0.0, 1.0, 1.0)
    """Default box of the face."""
    channel: Channel | None = None
    """Channel of RAVDESS, None for other corpora."""
    label_set: LabelSet | None = None
    """Label set of RAVDESS, None for other corpora."""
    is_built_in: bool = False
    """True for the built-in corpus, which is created if it is missing."""

    @cached_property
    def kind(self) -> CorpusKind:
        """``synthetic`` for all recordings of `synthesize`, also those that are listed elsewhere; else ``manifest``."""
        files = (file for clip in self.index()[0] for file in (clip.audio, clip.video) if file)
        folders = {file.parent.absolute() for file in files}
        ancestors = {folder for one in folders for folder in (one, *one.parents)}
        return "synthetic" if any((folder / SYNTHETIC_MARKER).exists() for folder in ancestors) else "manifest"

    @property
    def name(self) -> str:
        """Name of the corpus in reports."""
        return type(self).__name__

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of class indices; by default those that occur, sorted."""
        return tuple(sorted({clip.label for clip in self.index()[0] if clip.label is not None}))

    @property
    def protocol(self) -> Protocol:
        """Default protocol."""
        return "grouped"

    @abstractmethod
    def index(self) -> tuple[list[Clip], list[ExcludedClip]]:
        """Return all clips, sorted by name, and the excluded files or rows."""

    def holds(self, clip: Clip) -> bool:
        """Return True if a clip is part of the selection."""
        return True

    def prepare(self, clips: Sequence[Clip], *, audio: bool, crops: FaceCrops | None, folder: Path) -> PreparedCorpus:
        """Prepare the arrays of clips; see `crossmodal.datasets.cache.prepare_corpus`."""
        return prepare_corpus(clips, audio=audio, crops=crops, folder=folder)

    def read(self, path: Path) -> NDArray[np.generic]:
        """Return an array of the prepared corpus, which may be a memory map; threads may share a source."""
        return open_array(path)

    def make(self) -> None:  # noqa: B027 - most corpora exist
        """Create the corpus if it is the built-in one."""


@dataclass(frozen=True)
class RavdessSource(CorpusSource):
    """RAVDESS, or a synthetic corpus, in a folder. The label set selects clips and defines classes."""

    path: Path
    channel: Channel
    label_set: LabelSet
    is_built_in: bool = False
    face_box = FACE_BOX

    @property
    def kind(self) -> CorpusKind:
        """``synthetic`` or ``ravdess``."""
        return "synthetic" if self.is_built_in or (self.path / SYNTHETIC_MARKER).exists() else "ravdess"

    @property
    def name(self) -> str:
        """Name of the corpus in reports."""
        return "Synthetic corpus" if self.kind == "synthetic" else "RAVDESS"

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the label set."""
        return LABEL_SETS[self.label_set]

    @property
    def protocol(self) -> Protocol:
        """``seq6``."""
        return "seq6"

    def index(self) -> tuple[list[Clip], list[ExcludedClip]]:
        """Return the clips of the channel, and the files with other names."""
        index = index_ravdess(self.path, self.channel)
        return index.clips, index.excluded

    def holds(self, clip: Clip) -> bool:
        """Return True if a clip belongs to the label set."""
        return in_label_set(clip, self.label_set)

    def make(self) -> None:
        """Create the built-in corpus, or its missing clips."""
        if self.is_built_in:
            synthesize(self.path, actors=SYNTHETIC_ACTORS, channel=self.channel)


@dataclass(frozen=True)
class ManifestSource(CorpusSource):
    """Corpus of a manifest, which is read lazily. See `index_manifest`."""

    path: Path
    allow_outside_paths: bool = False

    @cached_property
    def manifest(self) -> ManifestIndex:
        """Content of the table."""
        stat = self.path.stat() if self.path.exists() else None
        return _index_cached(self.path, self.allow_outside_paths, stat and (stat.st_size, stat.st_mtime_ns))

    @property
    def name(self) -> str:
        """Stem of the file name."""
        return self.path.stem

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that occur in the table."""
        return self.manifest.labels

    @property
    def protocol(self) -> Protocol:
        """``given`` if the table defines a split, else ``grouped``."""
        return "given" if self.manifest.has_split else "grouped"

    def index(self) -> tuple[list[Clip], list[ExcludedClip]]:
        """Return the clips, and the unusable rows."""
        return self.manifest.clips, self.manifest.excluded


@lru_cache(maxsize=1)
def _index_cached(path: Path, allow_outside_paths: bool, version: tuple[int, int] | None) -> ManifestIndex:
    """Read a manifest once for all stages of a run; `version` is its size and modification time."""
    return index_manifest(path, allow_outside_paths)
