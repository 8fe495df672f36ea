"""Performances: parsed clip names, and the mixture of emotions that face and voice share."""

import hashlib
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from crossmodal.datasets import ravdess

Floats = npt.NDArray[np.floating]

SAMPLE_RATE = 48_000  # Hz
VIDEO_FRAME = 1001 / 30_000  # duration of a video frame in seconds
EMOTIONS = tuple(ravdess.EMOTIONS.values())

# Emotions that are mixed into each emotion; these are the pairs that people also confuse.
NEIGHBOURS = {
    "neutral": ("calm", "sad"),
    "calm": ("neutral", "sad"),
    "happy": ("surprised", "calm"),
    "sad": ("calm", "fearful", "disgust"),
    "angry": ("disgust", "fearful", "happy"),
    "fearful": ("surprised", "sad"),
    "disgust": ("angry", "sad"),
    "surprised": ("fearful", "happy"),
}
STRENGTH = {1: 0.8, 2: 1.2}  # by RAVDESS's intensity: 1 normal, 2 strong


@dataclass(frozen=True)
class Performance:
    """The last six fields of a RAVDESS name, as numbers."""

    channel: int  # 1 speech, 2 song
    emotion: int  # 1 to 8, in the order of `EMOTIONS`
    intensity: int  # 1 normal, 2 strong
    statement: int
    repetition: int
    actor: int  # 1 to 24; odd actors are male

    def __str__(self) -> str:
        return "-".join(f"{code:02d}" for code in astuple(self))

    @property
    def sung(self) -> bool:
        """True for song."""
        return self.channel == 2


def random_stream(seed: int, *words: object) -> np.random.Generator:
    """Return a random generator that depends only on the seed and the words, in every process."""
    digest = hashlib.blake2b(repr((seed, *map(str, words))).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def shown_emotions(performance: Performance, seed: int) -> Floats:
    """Return eight weights in the order of `EMOTIONS`: the intended emotion, and a share of a neighbour.

    Face and voice use the same mixture, so the face has information about the voice beyond the label. The sum is about
    0.8 (normal) or 1.2 (strong).
    """
    random = random_stream(seed, performance, "shown emotions")
    intended = EMOTIONS[performance.emotion - 1]
    neighbour = str(random.choice(NEIGHBOURS[intended]))
    share = random.beta(1.2, 4.0)
    weights = np.zeros(len(EMOTIONS))
    weights[EMOTIONS.index(intended)] = 1 - share
    weights[EMOTIONS.index(neighbour)] = share
    return weights * STRENGTH[performance.intensity] * random.lognormal(0.0, 0.2)
