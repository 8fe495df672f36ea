"""Where the clips of a run come from: a RAVDESS folder, the built-in synthetic corpus, or a manifest."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from crossmodal.datasets.clip import Clip, ExcludedClip
from crossmodal.datasets.manifest import ManifestIndex, index_manifest
from crossmodal.datasets.ravdess import FACE_BOX, Channel, index_ravdess
from crossmodal.datasets.splits.protocols import LABEL_SETS, LabelSet, Protocol, in_label_set, label_set_for
from crossmodal.datasets.synthetic import SYNTHETIC_MARKER, synthesize
from crossmodal.errors import ConfigError
from crossmodal.media import Box

CorpusKind = Literal["synthetic", "ravdess", "manifest"]
# The built-in corpus: small enough to be made in half a minute, large enough to fill four folds of seq6.
SYNTHETIC_ACTORS = 16


class CorpusSource(ABC):
    """A corpus: its clips, its labels, and what it is called."""

    path: Path
    """The folder, or the manifest."""
    face_box: Box
    """Where the face is, unless somebody says otherwise."""
    channel: Channel | None = None
    """Of RAVDESS."""
    label_set: LabelSet | None = None
    """Of RAVDESS."""
    is_built_in: bool = False
    """Whether it is made where it is not there."""

    @property
    @abstractmethod
    def kind(self) -> CorpusKind:
        """``synthetic`` where the recordings were made by `synthesize`, however they are listed."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What reports call it."""

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of their numbers."""

    @property
    @abstractmethod
    def protocol(self) -> Protocol:
        """How speakers are divided, unless somebody says otherwise."""

    @abstractmethod
    def index(self) -> tuple[list[Clip], list[ExcludedClip]]:
        """All its clips, in the order of their names, and what was set aside."""

    def holds(self, clip: Clip) -> bool:
        """Whether a clip is one of those that are asked for."""
        return True

    def make(self) -> None:  # noqa: B027 - most corpora are there
        """Make the corpus, if it is one that is made."""


@dataclass(frozen=True)
class RavdessSource(CorpusSource):
    """RAVDESS's files in a folder; or the synthetic corpus, which has the same names.

    Args:
        path: The folder.
        channel: ``speech``, ``song`` or ``both``.
        label_set: Which clips, and their classes.
        is_built_in: Whether the folder is that of the built-in corpus, which is made where it is not there.
    """

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
        """What reports call it."""
        return "Synthetic corpus" if self.kind == "synthetic" else "RAVDESS"

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the label set."""
        return LABEL_SETS[self.label_set]

    @property
    def protocol(self) -> Protocol:
        """``seq6``."""
        return "seq6"

    def index(self) -> tuple[list[Clip], list[ExcludedClip]]:
        """The channel's clips, and the files that are not RAVDESS's."""
        index = index_ravdess(self.path, self.channel)
        return index.clips, index.set_aside

    def holds(self, clip: Clip) -> bool:
        """Whether a clip is of the label set."""
        return in_label_set(clip, self.label_set)

    def make(self) -> None:
        """Synthesize the built-in corpus, or what is missing of it."""
        if self.is_built_in:
            synthesize(self.path, actors=SYNTHETIC_ACTORS, channel=self.channel)


@dataclass(frozen=True)
class ManifestSource(CorpusSource):
    """The clips of a manifest, which is read when something of it is first asked for.

    Args:
        path: The table.
        allow_outside_paths: See `index_manifest`.
    """

    path: Path
    allow_outside_paths: bool = False
    face_box = (0.0, 0.0, 1.0, 1.0)

    @cached_property
    def manifest(self) -> ManifestIndex:
        """What the table holds."""
        stat = self.path.stat() if self.path.exists() else None
        return _index_once(self.path, self.allow_outside_paths, stat and (stat.st_size, stat.st_mtime_ns))

    @cached_property
    def kind(self) -> CorpusKind:
        """``manifest``, or ``synthetic`` where any of its files lies in a synthetic corpus."""
        files = (file for clip in self.manifest.clips for file in (clip.audio, clip.video) if file)
        folders = {file.parent.absolute() for file in files}
        above = {folder for one in folders for folder in (one, *one.parents)}
        return "synthetic" if any((folder / SYNTHETIC_MARKER).exists() for folder in above) else "manifest"

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.stem

    @property
    def labels(self) -> tuple[str, ...]:
        """Those that occur."""
        return self.manifest.labels

    @property
    def protocol(self) -> Protocol:
        """``given`` where it names a split, else ``grouped``."""
        return "given" if self.manifest.has_split else "grouped"

    def index(self) -> tuple[list[Clip], list[ExcludedClip]]:
        """The clips of its rows, and the rows that cannot be used."""
        return self.manifest.clips, self.manifest.set_aside


@lru_cache(maxsize=1)
def _index_once(path: Path, allow_outside_paths: bool, mark: tuple[int, int] | None) -> ManifestIndex:
    """Read a manifest that did not change since, whose `mark` is the same, once for all stages of a run."""
    return index_manifest(path, allow_outside_paths)


def create_source(
    root: str | None,
    manifest: str | None,
    allow_outside_paths: bool,
    channel: Channel,
    label_set: LabelSet | None,
    cache: Path,
) -> CorpusSource:
    """The corpus that is asked for.

    Args:
        root: RAVDESS's folder.
        manifest: Or a manifest; the built-in corpus where neither is given.
        allow_outside_paths: See `index_manifest`.
        channel: Of RAVDESS.
        label_set: Of RAVDESS; None for the channel's own.
        cache: Where the built-in corpus is made.

    Raises:
        ConfigError: Both are given, or what is RAVDESS's for a manifest.
    """
    if not manifest:
        folder = Path(root) if root else cache / "synthetic"
        return RavdessSource(folder, channel, label_set_for(channel, label_set), is_built_in=not root)
    if root:
        raise ConfigError(f"Give data.root ({root}) or data.manifest ({manifest}), not both: a run is of one corpus.")
    if channel != "speech" or label_set:
        raise ConfigError("data.channel and data.label_set are of RAVDESS; the labels of a manifest are those in it.")
    return ManifestSource(Path(manifest), allow_outside_paths)
