"""Results of a recognizer: plain numbers that convert to JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ConfigError, ModelFolderError

SILENCE = "silence"  # label of recordings below the energy gate; no emotion has this name


@dataclass(frozen=True)
class Prediction:
    """Prediction for one recording or window.

    Args:
        label: Most probable emotion, or `SILENCE`.
        probabilities: Probability of each emotion. They sum to one; silence has none.
    """

    label: str
    probabilities: dict[str, float]

    @classmethod
    def of_probabilities(cls, labels: Sequence[str], probabilities: NDArray[np.floating[Any]]) -> "Prediction":
        """Create a prediction from non-negative probabilities, (K,), of K labels; normalize them in float64.

        Raises:
            ModelFolderError: If they are not finite, because the weights of the model are damaged.

        Examples:
            >>> Prediction.of_probabilities(("calm", "angry"), np.array([0.25, 0.75])).label
            'angry'
        """
        exact = probabilities.astype(np.float64)
        if not np.isfinite(exact).all():
            raise ModelFolderError("The model predicts probabilities that are not finite: its weights are damaged.")
        by_label = dict(zip(labels, (exact / exact.sum()).tolist(), strict=True))
        return cls(max(by_label, key=by_label.__getitem__), by_label)

    @property
    def score(self) -> float:
        """Probability of `label`; 1 for silence, which is measured and not predicted."""
        return 1.0 if self.is_silence else self.probabilities[self.label]

    @property
    def is_silence(self) -> bool:
        """True if the recording is below the energy gate."""
        return self.label == SILENCE

    def top_k(self, k: int) -> list[dict[str, Any]]:
        """Return the `k` most probable emotions, or all if there are fewer, as ``{"label": ..., "score": ...}``.

        Examples:
            >>> Prediction("sad", {"calm": 0.2, "angry": 0.1, "sad": 0.7}).top_k(2)
            [{'label': 'sad', 'score': 0.7}, {'label': 'calm', 'score': 0.2}]
        """
        if k < 1:
            raise ConfigError(f"top_k is a number of emotions, 1 or more, not {k}")
        scores = self.probabilities or {self.label: self.score}
        ranked = sorted(scores.items(), key=lambda item: -item[1])
        return [{"label": label, "score": score} for label, score in ranked[:k]]

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"label": ..., "score": ..., "probabilities": {...}}``."""
        return {"label": self.label, "score": self.score, "probabilities": dict(self.probabilities)}


SILENT = Prediction(SILENCE, {})


@dataclass(frozen=True)
class Window:
    """Prediction for a window of a recording.

    Args:
        start: Seconds from the beginning of the recording.
        end: Seconds, after `start`.
        prediction: Prediction for this window alone.
    """

    start: float
    end: float
    prediction: Prediction

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"start": ..., "end": ..., "label": ..., "score": ..., "probabilities": {...}}``."""
        return {"start": self.start, "end": self.end, **self.prediction.as_dict()}


@dataclass(frozen=True)
class Segment:
    """Part of a recording with one label.

    Args:
        start: Seconds from the beginning of the recording.
        end: Seconds, after `start`.
        label: Emotion, or `SILENCE`.
        score: Mean probability of `label` in the segment; 1 for silence.
    """

    start: float
    end: float
    label: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"start": ..., "end": ..., "label": ..., "score": ...}``."""
        return asdict(self)


@dataclass(frozen=True)
class Timeline:
    """Predictions over time.

    Args:
        windows: Overlapping windows in order.
        segments: Segments in order and without gaps, from 0 to `duration`. They are computed from the windows by
            `crossmodal.inference.timeline.find_segments`.
        duration: Duration of the recording in seconds.
        labels: Emotions in the order of the model.
    """

    windows: tuple[Window, ...]
    segments: tuple[Segment, ...]
    duration: float
    labels: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"duration": ..., "labels": [...], "segments": [...], "windows": [...]}``."""
        return {
            "duration": self.duration,
            "labels": list(self.labels),
            "segments": [segment.as_dict() for segment in self.segments],
            "windows": [window.as_dict() for window in self.windows],
        }
