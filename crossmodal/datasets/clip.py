"""Clips of any corpus."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Sex = Literal["female", "male"]


@dataclass(frozen=True)
class Clip:
    """One utterance by one actor, with the files of its sound and its face.

    The time origin of a clip is the first sample of its sound. `audio_start` and `video_start` give its position in
    each file, so that sound and face share a time base.

    Args:
        clip: Name of the clip, unique in its corpus. For RAVDESS the last six fields of the file name.
        actor: Speaker. Splits are defined by actors.
        label: Emotion, or None for an unlabelled clip.
        channel: ``speech`` or ``song``.
        audio: Path of the file with the sound.
        video: Path of the file with the face.
        audio_start: Start of the clip in the audio file, in seconds.
        video_start: Start of the clip in the video file, in seconds.
        duration: Duration in both files, in seconds; None extends to the end of each file.
        split: Split that the corpus defines for the clip, if any.
        sex: Sex of the actor, if the corpus knows it.
    """

    clip: str
    actor: str
    label: str | None
    channel: str = "speech"
    audio: Path | None = None
    video: Path | None = None
    audio_start: float = 0.0
    video_start: float = 0.0
    duration: float | None = None
    split: Split | None = None
    sex: Sex | None = None


@dataclass(frozen=True)
class ExcludedClip:
    """An excluded clip, file or row, with the reason: invalid input is listed, never dropped silently."""

    what: str
    reason: str


def nothing_usable(source: Path | str, excluded: Sequence[ExcludedClip]) -> str:
    """Return the error message for a corpus without usable clips, with the first reasons."""
    reasons = "".join(f"\n  {clip.what}: {clip.reason}" for clip in excluded[:5])
    examples = f", for example:{reasons}" if reasons else "."
    return f"{source} has no usable clip; {len(excluded)} were excluded{examples}"
