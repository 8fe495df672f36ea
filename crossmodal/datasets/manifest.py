"""Manifests: tables with one row per clip, for any corpus of paired recordings; see docs/manifests.md."""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from crossmodal.datasets.clip import SPLITS, Clip, ExcludedClip, Sex, Split, nothing_usable
from crossmodal.datasets.faces.features import clip_name
from crossmodal.datasets.manifest_table import Row, read_rows
from crossmodal.datasets.manifest_values import is_missing, merge_labels, speaker_name
from crossmodal.datasets.ravdess import EMOTIONS
from crossmodal.errors import CorpusNotFoundError, DataError

_Value = TypeVar("_Value")

# Common names of splits.
_SPLIT_NAMES: dict[str, Split] = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("dev", "valid", "validation", "development"), "val"),
    "training": "train",
    "testing": "test",
}
_SEXES: dict[str, Sex] = {
    **dict.fromkeys(("female", "f", "woman"), "female"),
    **dict.fromkeys(("male", "m", "man"), "male"),
}

_MOST_SECONDS = 1e7  # four months, longer than any recording


@dataclass(frozen=True)
class ManifestIndex:
    """Content of a manifest.

    Args:
        path: Path of the table.
        clips: Clips, sorted by name.
        excluded: Unusable rows with reasons.
        notes: Sentences about values that were read as other values, for the user.
    """

    path: Path
    clips: list[Clip]
    excluded: list[ExcludedClip]
    notes: list[str] = field(default_factory=list)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the clips, in the order of class indices."""
        return order_labels(clip.label for clip in self.clips)

    @property
    def has_split(self) -> bool:
        """True if the corpus defines its own split."""
        return any(clip.split for clip in self.clips)


def index_manifest(path: str | Path, allow_outside_paths: bool = False) -> ManifestIndex:
    """Read a manifest and check every row. Files must exist but are not decoded. Notes are printed to stderr.

    Args:
        path: Path of a ``.csv`` or ``.parquet`` file.
        allow_outside_paths: Allow files outside the manifest's folder (absolute paths or ``..``). By default they are
            rejected, because an untrusted manifest could refer to private files.

    Raises:
        CorpusNotFoundError: If the file does not exist or has no usable row.
        DataError: If the file is not a table, a column is missing, or there are fewer than two labels.
    """
    path = Path(path)
    # Each file is checked once, because a long recording may have thousands of rows.
    find = cache(partial(_find_file, path.parent, allow_outside_paths))
    notes: list[str] = []
    rows, excluded = list(read_rows(path, notes)), []
    clips: dict[str, Clip] = {}
    recordings: dict[Clip, Clip] = {}
    sexes: dict[str, Sex] = {}
    readable = [row for _, row in rows if not isinstance(row, str)]
    has_split = not all(is_missing(row["split"]) for row in readable)
    labels, merged = merge_labels((row["label"] for row in readable), preferred=EMOTIONS.values())
    notes.extend(merged)
    for number, row in rows:
        try:
            clip = _read_clip(row, find, labels, has_split)
            if clip.clip in clips:
                raise ValueError("an earlier row has the same clip")
            if clip.sex and (other := sexes.setdefault(clip.actor, clip.sex)) != clip.sex:
                raise ValueError(f"its sex is {clip.sex}, but an earlier row of speaker {clip.actor} has {other}")
            if (first := recordings.setdefault(replace(clip, clip="", label=None, sex=None), clip)) != clip:
                raise ValueError(f"an earlier row has the same recording: clip {first.clip}, label {first.label}")
        except ValueError as error:
            name = "" if isinstance(row, str) else f" (clip {row['clip']})"
            excluded.append(ExcludedClip(f"{path.name} row {number}{name}", str(error)))
        else:
            clips[clip.clip] = clip
    if not clips:
        raise CorpusNotFoundError(nothing_usable(path, excluded))
    known = (replace(clips[name], sex=sexes.get(clips[name].actor)) for name in sorted(clips))  # also in empty cells
    index = ManifestIndex(path, list(known), excluded, notes)
    for note in notes:
        print(f"{path.name}: {note}", file=sys.stderr, flush=True)
    if len(index.labels) < 2:
        raise DataError(f"{path} needs at least two different labels, but has {index.labels or 'none'}.")
    return index


def order_labels(labels: Iterable[str | None]) -> tuple[str, ...]:
    """Sort labels in the order of RAVDESS if all are emotions of RAVDESS, else alphabetically; None is dropped.

    Examples:
        >>> order_labels(["sad", None, "angry", "neutral"]), order_labels(["sad", "bored"])
        (('neutral', 'sad', 'angry'), ('bored', 'sad'))
    """
    found = {label for label in labels if label is not None}
    emotions = tuple(EMOTIONS.values())
    return tuple(label for label in emotions if label in found) if found <= {*emotions} else tuple(sorted(found))


def _find_file(folder: Path, allow_outside_paths: bool, name: str) -> Path | str:
    """Return the path of a file of a manifest, or the reason why it cannot be used."""
    path = Path(name.replace("\\", "/"))  # as written on Windows
    if not allow_outside_paths and (path.is_absolute() or ".." in path.parts):
        advice = "if you trust the manifest, use --data.allow_outside_paths true"
        return f"{name} may be outside the manifest's folder; {advice}"
    path = folder / path
    try:
        return path if path.is_file() else f"there is no file {path}"
    except OSError as error:  # the name is too long, or the folder has no read permission
        return f"cannot access {path}: {error.strerror}"


def _read_clip(
    row: Row | str, find: Callable[[str], Path | str], labels: Mapping[str, str | None], has_split: bool
) -> Clip:
    """Convert a row to a clip; raises ValueError with the reason if it is invalid."""
    if isinstance(row, str):
        raise ValueError(row)
    for name in ("clip", "speaker"):
        if is_missing(row[name]):
            raise ValueError(f"its {name} is {row[name] or 'empty'}")
    audio, video = (None if is_missing(row[name]) else find(row[name]) for name in ("audio", "video"))
    if not (audio or video):
        raise ValueError("it has neither sound nor video")
    if isinstance(audio, str) or isinstance(video, str):
        raise ValueError(audio if isinstance(audio, str) else video)
    start, delay = _seconds(row, "start"), _seconds(row, "audio_delay")
    if start < 0 or start + delay < 0:
        raise ValueError(f"it starts at {min(start, start + delay):g} s, before its files")
    return Clip(
        clip=clip_name(row["clip"]),
        actor=speaker_name(row["speaker"]),
        label=labels[row["label"]],
        audio=audio or video,
        video=video,
        audio_start=start + delay,
        video_start=start,
        duration=_duration(row, start),
        split=_one_of(row, "split", _SPLIT_NAMES, has_split),
        sex=_one_of(row, "sex", _SEXES),
    )


def _seconds(row: Row, name: str) -> float:
    try:
        seconds = float(row[name] or 0.0)
    except ValueError:
        raise ValueError(f"{name} is {row[name]!r}, not a number of seconds such as 61.5") from None
    if not abs(seconds) < _MOST_SECONDS:  # also catches NaN
        raise ValueError(f"{name} is {row[name]}, not a number of seconds")
    return seconds


def _duration(row: Row, start: float) -> float | None:
    if not row["end"]:
        return None
    end = _seconds(row, "end")
    if end <= start:
        raise ValueError(f"it ends at {end:g} s, not after its start at {start:g} s")
    return round(end - start, 6)  # floating-point residue of the difference must not change the cache key


def _one_of(row: Row, name: str, values: Mapping[str, _Value], is_required: bool = False) -> _Value | None:
    if is_missing(row[name]) and not is_required:
        return None
    value = values.get(row[name].lower())
    if value is None:
        raise ValueError(f"its {name} is {row[name] or 'empty'}, not one of {', '.join(values)}")
    return value
