"""Any corpus of paired recordings: a manifest, a table with one row for each clip.

Columns: `clip` (a name of its own), `audio`, `video` (files), `label`, `speaker`, `split`, and where a clip is a piece
of its files `start` and `end` (seconds). See docs/manifests.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crossmodal.datasets.clip import SPLITS, Clip, ExcludedClip, Split, nothing_usable
from crossmodal.datasets.faces.features import clip_name
from crossmodal.datasets.manifest_table import Row, read_rows
from crossmodal.datasets.ravdess import EMOTIONS
from crossmodal.errors import CorpusNotFoundError, DataError

# What else people call a part of a corpus.
_SPLIT_NAMES: dict[str, Split] = {**{name: name for name in SPLITS}, "dev": "val", "valid": "val", "validation": "val"}

_MOST_SECONDS = 1e7  # four months: no recording lasts so long


@dataclass(frozen=True)
class ManifestIndex:
    """What a manifest holds.

    Args:
        path: The table.
        clips: Its clips, in the order of their names.
        set_aside: Its rows that cannot be used, and why.
    """

    path: Path
    clips: list[Clip]
    set_aside: list[ExcludedClip]

    @property
    def name(self) -> str:
        """What the corpus is called: the file's name without its suffix."""
        return self.path.stem

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, in the order of their numbers."""
        return order_labels(clip.label for clip in self.clips)

    @property
    def has_split(self) -> bool:
        """Whether the corpus names its own split."""
        return any(clip.split for clip in self.clips)


def index_manifest(path: str | Path, allow_outside_paths: bool = False) -> ManifestIndex:
    """Read a manifest and check every row. Nothing is decoded, but every file must be there.

    Args:
        path: A ``.csv`` or ``.parquet`` file.
        allow_outside_paths: Whether files may lie outside of the manifest's folder, by an absolute path or by ``..``.
            A manifest of somebody else's could otherwise have files of yours read that it has no business with.

    Raises:
        CorpusNotFoundError: There is no such file, or no row of it can be used.
        DataError: It is no table, lacks a column, or fewer than two labels occur in it.
    """
    path = Path(path)
    files = _Files(path.parent, allow_outside_paths)
    rows, set_aside = list(read_rows(path)), []
    clips: dict[str, Clip] = {}
    names_a_split = any(row["split"] for _, row in rows if not isinstance(row, str))
    for number, row in rows:
        try:
            clip = _read_clip(row, files, names_a_split)
            if clip.clip in clips:
                raise ValueError("there is a row of the same clip above it")
        except ValueError as error:
            name = "" if isinstance(row, str) else f" (clip {row['clip']})"
            set_aside.append(ExcludedClip(f"{path.name} row {number}{name}", str(error)))
        else:
            clips[clip.clip] = clip
    if not clips:
        raise CorpusNotFoundError(nothing_usable(path, set_aside))
    index = ManifestIndex(path, [clips[name] for name in sorted(clips)], set_aside)
    if len(index.labels) < 2:
        raise DataError(f"{path} needs two labels or more to tell apart; in its rows occur {index.labels or 'none'}.")
    return index


def order_labels(labels: Iterable[str | None]) -> tuple[str, ...]:
    """Put labels in order: that of RAVDESS where all are emotions of it, else alphabetically; None is no label.

    Example:
        >>> order_labels(["sad", None, "angry", "neutral"]), order_labels(["sad", "bored"])
        (('neutral', 'sad', 'angry'), ('bored', 'sad'))
    """
    found = {label for label in labels if label is not None}
    emotions = tuple(EMOTIONS.values())
    return tuple(label for label in emotions if label in found) if found <= {*emotions} else tuple(sorted(found))


class _Files:
    """The files that rows name, each looked for once: a long recording may have thousands of rows."""

    def __init__(self, folder: Path, allow_outside_paths: bool) -> None:
        self._folder = folder
        self._allow_outside_paths = allow_outside_paths
        self._found: dict[str, Path | ValueError] = {}

    def __getitem__(self, written: str) -> Path:
        if written not in self._found:
            self._found[written] = self._look_for(written)
        found = self._found[written]
        if isinstance(found, ValueError):
            raise found
        return found

    def _look_for(self, written: str) -> Path | ValueError:
        path = Path(written)
        if not self._allow_outside_paths and (path.is_absolute() or ".." in path.parts):
            return ValueError(
                f"{written} may lie outside of the manifest's folder: --data.allow_outside_paths true, if you trust "
                "the manifest"
            )
        path = self._folder / path
        try:
            return path if path.is_file() else ValueError(f"there is no file {path}")
        except OSError as error:  # its name is too long, or it lies in a folder that may not be looked into
            return ValueError(f"{path} cannot be looked for: {error.strerror}")


def _read_clip(row: Row | str, files: _Files, names_a_split: bool) -> Clip:
    """Make a clip of a row; ValueError says why that cannot be."""
    if isinstance(row, str):
        raise ValueError(row)
    for name in ("clip", "speaker"):
        if not row[name]:
            raise ValueError(f"its {name} is empty")
    audio, video = (files[row[name]] if row[name] else None for name in ("audio", "video"))
    if not (audio or video):
        raise ValueError("it has neither sound nor video")
    start, delay = _seconds(row, "start"), _seconds(row, "audio_delay")
    if start < 0 or start + delay < 0:
        raise ValueError(f"it starts at {min(start, start + delay):g} s, before its files do")
    return Clip(
        clip=clip_name(row["clip"]),
        actor=row["speaker"],
        label=row["label"] or None,
        audio=audio or video,
        video=video,
        audio_start=start + delay,
        video_start=start,
        duration=_duration(row, start),
        split=_split(row["split"], names_a_split),
    )


def _seconds(row: Row, name: str) -> float:
    try:
        seconds = float(row[name] or 0.0)
    except ValueError:
        raise ValueError(f"{name} is {row[name]!r}, and no number of seconds") from None
    if not abs(seconds) < _MOST_SECONDS:  # of NaN nothing is true
        raise ValueError(f"{name} is {row[name]}, and no number of seconds")
    return seconds


def _duration(row: Row, start: float) -> float | None:
    if not row["end"]:
        return None
    end = _seconds(row, "end")
    if end <= start:
        raise ValueError(f"it ends at {end:g} s, which is not after its start at {start:g} s")
    return round(end - start, 6)  # so that what a difference of two decimals leaves over changes no key


def _split(written: str, names_a_split: bool) -> Split | None:
    if not written and not names_a_split:
        return None
    split = _SPLIT_NAMES.get(written.lower())
    if split is None:
        raise ValueError(f"its split is {written or 'empty'}, and none of {', '.join(_SPLIT_NAMES)}")
    return split
