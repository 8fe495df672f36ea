"""What a clip is, whichever corpus it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Clip:
    """One utterance by one actor, and where its sound and its face are.

    A clip's time zero is the first sample of its sound; `audio_start` and `video_start` say where that instant lies in
    each file, so that sound and face are on one time base.

    Args:
        clip: The name, unique in its corpus. For RAVDESS the last six fields of the file name.
        actor: Who speaks. Splits are made of actors.
        label: The emotion, or None where nobody labelled it.
        channel: ``speech`` or ``song``.
        audio: The file that holds the sound.
        video: The file that holds the face.
        audio_start: Seconds into the sound file at which the clip begins.
        video_start: Seconds into the video file at which the clip begins.
        duration: Seconds that the clip lasts, of both files; None to the end of each.
        split: Where its corpus puts it, if its corpus says.
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


@dataclass(frozen=True)
class ExcludedClip:
    """Something that was left out, and why: bad input is listed, never silently dropped."""

    what: str
    reason: str


def nothing_usable(source: Path, set_aside: Sequence[ExcludedClip]) -> str:
    """The sentence for a corpus of which nothing is left, with the first reasons."""
    shown = "".join(f"\n  {aside.what}: {aside.reason}" for aside in set_aside[:5])
    among = f", among them:{shown}" if shown else "."
    return f"{source} holds no clip that can be used; {len(set_aside)} were set aside{among}"
