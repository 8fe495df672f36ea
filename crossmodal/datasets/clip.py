"""What a clip is, whichever corpus it comes from."""

from dataclasses import dataclass
from pathlib import Path


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
    """

    clip: str
    actor: str
    label: str | None
    channel: str = "speech"
    audio: Path | None = None
    video: Path | None = None
    audio_start: float = 0.0
    video_start: float = 0.0


@dataclass(frozen=True)
class SetAside:
    """Something that was left out, and why: bad input is listed, never silently dropped."""

    what: str
    reason: str
