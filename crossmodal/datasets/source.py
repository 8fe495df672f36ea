"""Corpora for a run: a RAVDESS folder, the built-in synthetic corpus, or a manifest."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from crossmodal.datasets.clip import Clip, ExcludedClip
from crossmodal.datasets.manifest import ManifestIndex, index_manifest
from crossmodal.datasets.ravdess import FACE_BOX, Channel, index_ravdess
from crossmodal.datasets.splits.protocols import LABEL_SETS, LabelSet, Protocol, in_label_set, label_set_for
from crossmodal.datasets.synthetic import SYNTHETIC_MARKER, synthesize
from crossmodal.errors import ConfigError
from crossmodal.media import Box

CorpusKind = Literal["synthetic", "ravdess", "manifest"]
SYNTHETIC_ACTORS = 16  # of the built-in corpus: it is created in half a minute, and fills four folds of seq6


@dataclass(frozen=True)
class RavdessSource:
    """RAVDESS, or a synthetic corpus, in a folder.

    Args:
        path: Path of the folder.
        channel: ``speech``, ``song`` or ``both``.
        label_set: Label set, which selects clips and defines classes.
        is_built_in: True for the built-in corpus, which is created if it is missing.
    """

    path: Path
    channel: Channel
    label_set: LabelSet
    is_built_in: bool = False
    face_box: Box = FACE_BOX
    protocol: Protocol = "seq6"

    @property
    def kind(self) -> CorpusKind:
        """Kind of the corpus: ``synthetic`` for recordings of `synthesize`, or ``ravdess``."""
        return "synthetic" if self.is_built_in or (self.path / SYNTHETIC_MARKER).exists() else "ravdess"

    @property
    def name(self) -> str:
        """Name of the corpus in reports."""
        return "Synthetic corpus" if self.kind == "synthetic" else "RAVDESS"

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of class indices."""
        return LABEL_SETS[self.label_set]

    def index(self) -> tuple[list[Clip], list[ExcludedClip]]:
        """Return the clips of the channel, sorted by name, and the excluded files."""
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
class ManifestSource:
    """Corpus of a manifest, which is read lazily; the attributes are those of `RavdessSource`.

    Args:
        path: Path of the table.
        allow_outside_paths: See `index_manifest`.
    """

    path: Path
    allow_outside_paths: bool = False
    face_box: Box = (0.0, 0.0, 1.0, 1.0)
    channel: None = None
    label_set: None = None
    is_built_in: Literal[False] = False

    @cached_property
    def manifest(self) -> ManifestIndex:
        """Content of the table."""
        stat = self.path.stat() if self.path.exists() else None
        return _index_cached(self.path, self.allow_outside_paths, stat and (stat.st_size, stat.st_mtime_ns))

    @cached_property
    def kind(self) -> CorpusKind:
        """``synthetic`` if any file is in a synthetic corpus, else ``manifest``."""
        files = (file for clip in self.manifest.clips for file in (clip.audio, clip.video) if file)
        folders = {file.parent.absolute() for file in files}
        ancestors = {folder for one in folders for folder in (one, *one.parents)}
        return "synthetic" if any((folder / SYNTHETIC_MARKER).exists() for folder in ancestors) else "manifest"

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
        """Return the clips, sorted by name, and the unusable rows."""
        return self.manifest.clips, self.manifest.excluded

    def holds(self, clip: Clip) -> bool:
        """Return True."""
        return True

    def make(self) -> None:
        """Do nothing: a manifest lists recordings that exist."""


CorpusSource: TypeAlias = RavdessSource | ManifestSource


@lru_cache(maxsize=1)
def _index_cached(path: Path, allow_outside_paths: bool, version: tuple[int, int] | None) -> ManifestIndex:
    """Read a manifest once for all stages of a run; `version` is its size and modification time."""
    return index_manifest(path, allow_outside_paths)


def create_source(
    root: str | None,
    manifest: str | None,
    allow_outside_paths: bool,
    channel: Channel,
    label_set: LabelSet | None,
    cache: Path,
) -> CorpusSource:
    """Return the corpus for the settings of a datamodule, by default the built-in one, which is in the cache folder.

    Raises:
        ConfigError: If both `root` and `manifest` are given, or `channel` or `label_set` for a manifest.
    """
    if not manifest:
        folder = Path(root) if root else cache / "synthetic"
        return RavdessSource(folder, channel, label_set_for(channel, label_set), is_built_in=not root)
    if root:
        raise ConfigError(f"Set data.root ({root}) or data.manifest ({manifest}), not both: a run uses one corpus.")
    if channel != "speech" or label_set:
        raise ConfigError("data.channel and data.label_set are for RAVDESS; a manifest defines its own labels.")
    return ManifestSource(Path(manifest), allow_outside_paths)
