"""What is acted in a clip: its name, and how much of each emotion the actor shows, to the ear and to the eye alike."""

import hashlib
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from crossmodal.datasets import ravdess

Floats = npt.NDArray[np.floating]

SAMPLE_RATE = 48_000  # samples of sound per second
VIDEO_FRAME = 1001 / 30_000  # seconds from one video frame to the next
EMOTIONS = tuple(ravdess.EMOTIONS.values())

# What an actor who means the one may also show of the other: clips that people, too, confuse.
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
    """What a clip's name says: the last six fields of a RAVDESS name, as numbers.

    Args:
        channel: 1 speech, 2 song.
        emotion: 1 to 8, in the order of `EMOTIONS`.
        intensity: 1 normal, 2 strong.
        statement: 1 or 2.
        repetition: 1 or 2.
        actor: 1 to 24; odd actors are male.
    """

    channel: int
    emotion: int
    intensity: int
    statement: int
    repetition: int
    actor: int

    def __str__(self) -> str:
        return "-".join(f"{code:02d}" for code in astuple(self))

    @property
    def sung(self) -> bool:
        """Whether it is song."""
        return self.channel == 2


def random_stream(seed: int, *words: object) -> np.random.Generator:
    """Return random numbers that depend on nothing but the seed and the words.

    Args:
        seed: The corpus's seed.
        words: What the numbers are for. Python's own `hash` would differ from process to process.
    """
    digest = hashlib.blake2b(repr((seed, *map(str, words))).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def shown_emotions(performance: Performance, seed: int) -> Floats:
    """Return how strongly each emotion is shown: the one meant, and somewhat of a neighbour.

    Face and voice follow the same mixture, so what a face says beyond the label holds for the voice as well.

    Returns:
        Eight weights of at least 0, in the order of `EMOTIONS`; their sum is about 0.8 (normal) or 1.2 (strong).
    """
    random = random_stream(seed, performance, "shown emotions")
    meant = EMOTIONS[performance.emotion - 1]
    neighbour = str(random.choice(NEIGHBOURS[meant]))
    share = random.beta(1.2, 4.0)
    weights = np.zeros(len(EMOTIONS))
    weights[EMOTIONS.index(meant)] = 1 - share
    weights[EMOTIONS.index(neighbour)] = share
    return weights * STRENGTH[performance.intensity] * random.lognormal(0.0, 0.2)
