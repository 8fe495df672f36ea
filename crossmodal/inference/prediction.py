"""What a recognizer answers: for a recording, for a window of it, and over time. Plain numbers, ready for JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ModelFolderError

SILENCE = "silence"  # the label where there is nothing to hear; no emotion has this name


@dataclass(frozen=True)
class Prediction:
    """What a model hears in one recording.

    Args:
        label: The likeliest emotion, or `SILENCE`.
        probabilities: Of every emotion; they sum to one. Of silence there are none.
    """

    label: str
    probabilities: dict[str, float]

    @classmethod
    def of_probabilities(cls, labels: Sequence[str], probabilities: NDArray[np.floating[Any]]) -> "Prediction":
        """Name the likeliest.

        Args:
            labels: The K emotions.
            probabilities: (K,), not negative; made to sum to one to the last digit.

        Raises:
            ModelFolderError: They are not finite numbers: the model's weights are damaged.

        Example:
            >>> Prediction.of_probabilities(("calm", "angry"), np.array([0.25, 0.75])).label
            'angry'
        """
        exact = probabilities.astype(np.float64)
        if not np.isfinite(exact).all():
            raise ModelFolderError("The model answers with numbers that are not finite: its weights are damaged.")
        by_label = dict(zip(labels, (exact / exact.sum()).tolist(), strict=True))
        return cls(max(by_label, key=by_label.__getitem__), by_label)

    @property
    def score(self) -> float:
        """The probability of `label`; 1 for silence, which is measured and not guessed."""
        return 1.0 if self.is_silence else self.probabilities[self.label]

    @property
    def is_silence(self) -> bool:
        """Whether there was nothing to hear."""
        return self.label == SILENCE

    def as_dict(self) -> dict[str, Any]:
        """``{"label": ..., "score": ..., "probabilities": {...}}``, for JSON."""
        return {"label": self.label, "score": self.score, "probabilities": dict(self.probabilities)}


NOTHING_HEARD = Prediction(SILENCE, {})


@dataclass(frozen=True)
class Window:
    """What is heard between two instants.

    Args:
        start: Seconds from the beginning of the recording.
        end: Seconds, after `start`.
        prediction: Of this window alone.
    """

    start: float
    end: float
    prediction: Prediction

    def as_dict(self) -> dict[str, Any]:
        """``{"start": ..., "end": ..., "label": ..., "score": ..., "probabilities": {...}}``, for JSON."""
        return {"start": self.start, "end": self.end, **self.prediction.as_dict()}


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording in which one emotion, or silence, prevails.

    Args:
        start: Seconds from the beginning of the recording.
        end: Seconds, after `start`.
        label: The emotion, or `SILENCE`.
        score: The mean probability of `label` in it; 1 for silence.
    """

    start: float
    end: float
    label: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """``{"start": ..., "end": ..., "label": ..., "score": ...}``, for JSON."""
        return {"start": self.start, "end": self.end, "label": self.label, "score": self.score}


@dataclass(frozen=True)
class Timeline:
    """What is heard over time.

    Args:
        windows: In order; they overlap.
        segments: In order, without gaps, from 0 to `duration`; made of the windows by
            `crossmodal.inference.timeline.find_segments`.
        duration: Seconds.
        labels: The emotions of the model, in its order.
    """

    windows: tuple[Window, ...]
    segments: tuple[Segment, ...]
    duration: float
    labels: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """``{"duration": ..., "labels": [...], "segments": [...], "windows": [...]}``, for JSON."""
        return {
            "duration": self.duration,
            "labels": list(self.labels),
            "segments": [segment.as_dict() for segment in self.segments],
            "windows": [window.as_dict() for window in self.windows],
        }
