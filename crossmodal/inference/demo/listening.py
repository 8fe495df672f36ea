"""What the page finds out about one recording, before any of it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.errors import ConfigError, MediaError
from crossmodal.inference.prediction import Prediction, Timeline
from crossmodal.inference.recognizer import EmotionRecognizer
from crossmodal.inference.recording import LONGEST
from crossmodal.inference.silence import SILENCE_DB
from crossmodal.version import __version__

MEGABYTE = 1_000_000  # bytes
ACTED = (
    "Acted emotion in a laboratory is not a person's feelings: a model says which acted emotion a voice resembles, and "
    "no more."
)


@dataclass(frozen=True)
class Limits:
    """What the page takes.

    Args:
        seconds: Of a recording.
        megabytes: Of an upload.
    """

    seconds: float = 300.0
    megabytes: float = 50.0


@dataclass(frozen=True)
class Listener:
    """A model of the page.

    Args:
        role: ``model`` or ``control``.
        name: What the user called it on the command line.
        recognizer: The model.
    """

    role: str
    name: str
    recognizer: EmotionRecognizer


@dataclass(frozen=True)
class Heard:
    """What one model says of a recording.

    Args:
        listener: Who says it.
        prediction: Of the whole; none where it is longer than one label is asked for.
        timeline: Of its windows.
    """

    listener: Listener
    prediction: Prediction | None
    timeline: Timeline


@dataclass(frozen=True)
class Listened:
    """A recording with what the models say of it.

    Args:
        file: Its name, without the folder.
        waveform: (T,) in [-1, 1], as the first model hears it.
        sample_rate: Of it, in Hz.
        heard: By each model.
    """

    file: str
    waveform: NDArray[np.float32]
    sample_rate: int
    heard: tuple[Heard, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.waveform) / self.sample_rate

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what the page shows, unrounded."""
        models = [
            {
                "role": one.listener.role,
                "name": one.listener.name,
                "prediction": one.prediction.as_dict() if one.prediction else None,
                "timeline": one.timeline.as_dict(),
            }
            for one in self.heard
        ]
        found: dict[str, Any] = {"file": self.file, "duration": self.duration, "models": models}
        if len(self.heard) == 2:
            found["agreement"] = agreement(self.heard[0].timeline, self.heard[1].timeline)
        return {**found, "note": ACTED, "crossmodal": __version__}


def listen(path: str | Path, listeners: Sequence[Listener], longest: float) -> Listened:
    """Let every model listen to a recording.

    Args:
        path: The file.
        listeners: One or more models.
        longest: Seconds that it may last.

    Raises:
        MediaError: It cannot be decoded, is too short or too long, or there is nothing in it to hear.
    """
    path = Path(path)
    sample_rate = listeners[0].recognizer.sample_rate
    try:
        waveform = media.read_waveform(path, sample_rate, longest=longest)
    except MediaError as error:
        if error.reason != media.too_long(longest):
            raise
        raise MediaError(path, f"it lasts more than {longest:g} s, the most that this page takes") from error
    whole = len(waveform) <= LONGEST * sample_rate
    heard = [
        Heard(
            listener,
            listener.recognizer(waveform, sample_rate) if whole else None,
            listener.recognizer.timeline(waveform, sample_rate),
        )
        for listener in listeners
    ]
    if all(window.prediction.is_silence for one in heard for window in one.timeline.windows):
        loudest = f"no moment of it is louder than {SILENCE_DB:g} dB of full scale"
        raise MediaError(path, f"there is nothing to hear: {loudest}")
    return Listened(path.name, waveform, sample_rate, tuple(heard))


def agreement(one: Timeline, other: Timeline) -> float:
    """The share of the time, 0 to 1, over which two timelines of one recording have the same label."""
    edges = np.unique([bound for line in (one, other) for part in line.segments for bound in (part.start, part.end)])
    middles = (edges[:-1] + edges[1:]) / 2
    same = np.array([_label_at(one, middle) == _label_at(other, middle) for middle in middles])
    return float((np.diff(edges) * same).sum() / (edges[-1] - edges[0]))


def _label_at(timeline: Timeline, seconds: float) -> str:
    ends = [segment.end for segment in timeline.segments[:-1]]
    return timeline.segments[int(np.searchsorted(ends, seconds, side="right"))].label


def check_pair(listeners: Sequence[Listener]) -> None:
    """Raise ConfigError where a model and its control know different emotions: they cannot stand side by side."""
    labels = [listener.recognizer.labels for listener in listeners]
    if any(other != labels[0] for other in labels[1:]):
        raise ConfigError(
            f"{listeners[0].name} knows {', '.join(labels[0])}, its control {listeners[1].name} knows "
            f"{', '.join(labels[1])}: they cannot be compared. Take the control of the same run."
        )


def differences(listeners: Sequence[Listener]) -> list[str]:
    """In which of their settings two models differ, so that one is no honest control of the other."""
    if len(listeners) < 2:
        return []
    one, other = (listener.recognizer.config for listener in listeners)
    names = {"actors_seen": "training actors", "protocol": "protocol", "fold": "fold", "channel": "channel"}
    found = [word for key, word in names.items() if one.get(key) != other.get(key)]
    built = [[config["model"].get(key) for key in ("front_end", "encoder")] for config in (one, other)]
    return [*found, "network"] if built[0] != built[1] else found
