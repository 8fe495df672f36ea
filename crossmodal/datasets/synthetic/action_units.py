"""Action units of a face over time, after Ekman and Friesen's coding system (FACS)."""

import numpy as np
from scipy.interpolate import PchipInterpolator

from crossmodal.datasets.synthetic.performance import Floats, Performance, random_stream, shown_emotions

# Action units and head positions of each fully shown emotion; 0 is at rest, 1 about the human maximum.
EMOTIONS_BY_UNIT = {
    #                    neutr   calm  happy    sad  angry  fearf  disgu  surpr
    "brow_inner_raise": (    0,     0,     0,   0.8,     0,   0.8,     0,  0.95),  # AU1
    "brow_outer_raise": (    0,  0.05,  0.15,     0,     0,  0.35,     0,  0.95),  # AU2
    "brow_lower":       (    0,     0,     0,   0.3,     1,  0.35,  0.55,     0),  # AU4
    "lid_raise":        (    0,     0,     0,     0,  0.35,   0.8,     0,   0.7),  # AU5
    "cheek_raise":      (    0,     0,   0.7,     0,     0,     0,   0.3,     0),  # AU6
    "lid_tighten":      (    0,     0,     0,     0,   0.5,     0,   0.5,     0),  # AU7
    "nose_wrinkle":     (    0,     0,     0,     0,   0.2,     0,     1,     0),  # AU9
    "lip_raise":        (    0,     0,     0,     0,     0,     0,   0.9,     0),  # AU10
    "corner_pull":      (    0,  0.25,  0.95,     0,     0,     0,     0,     0),  # AU12, a smile
    "corner_depress":   (    0,     0,     0,  0.75,   0.3,   0.3,   0.4,     0),  # AU15
    "chin_raise":       (    0,     0,     0,   0.4,     0,     0,   0.3,     0),  # AU17
    "lip_stretch":      (    0,     0,     0,     0,     0,   0.9,     0,     0),  # AU20
    "lip_press":        (    0,     0,     0,     0,   0.6,     0,     0,     0),  # AU24
    "jaw_drop":         (    0,     0,   0.3,     0,     0,  0.35,     0,  0.85),  # AU26
    "eyes_close":       (    0,   0.2,     0,  0.18,     0,     0,     0,     0),  # AU43, and the blinks of AU45
    "head_down":        (    0,     0, -0.15,   0.5,   0.3,  -0.1,     0,  -0.3),  # a nod is a positive change
    "head_turn":        (    0,     0,     0,     0,     0,   0.2,   0.4,     0),
    "head_tilt":        (    0,   0.1,     0,   0.3,     0,     0,     0,     0),
    "head_forward":     (    0,     0,     0,     0,   0.6,  -0.5,  -0.2,   0.1),
}  # fmt: skip
UNITS = tuple(EMOTIONS_BY_UNIT)
"""Names of the action units and head positions."""

UNIT_SPREAD = 0.10  # standard deviation between clips of the same emotion
HABIT_SPREAD = 0.05  # standard deviation between actors' faces at rest
GAIN_SPREAD = 0.25  # standard deviation of the logarithm of actors' gains of each unit
SPEECH_JAW = 0.45  # jaw drop in the loudest sound
_SIGNED = np.array([unit.startswith("head") for unit in UNITS])  # other units are not negative


def action_units(performance: Performance, seed: int, loudness: Floats) -> Floats:
    """Return tracks of `UNITS`, (video frames, units), about 0 to 1; head positions about -1 to 1.

    The jaw follows the loudness of the voice at each video frame, from 0 to 1.
    """
    random = random_stream(seed, performance, "face")
    time = np.linspace(0, 1, len(loudness))
    table = np.array(list(EMOTIONS_BY_UNIT.values())).T.copy()
    habit = random_stream(seed, "habits", performance.actor)
    gains = habit.lognormal(-0.5 * GAIN_SPREAD**2, GAIN_SPREAD, len(UNITS))
    apex = gains * (shown_emotions(performance, seed) @ table) + random.normal(0, UNIT_SPREAD, len(UNITS))

    tracks = habit.normal(0, HABIT_SPREAD, len(UNITS)) + _onset_apex_offset(time, random)[:, None] * apex
    tracks += 0.35 * UNIT_SPREAD * _wander(len(time), len(UNITS), random)
    tracks[:, _SIGNED] += 0.2 * _wander(len(time), int(_SIGNED.sum()), random)
    tracks[:, UNITS.index("head_down")] -= 0.3 * (loudness - loudness.mean())  # people nod to the rhythm of speech
    tracks[:, UNITS.index("jaw_drop")] += SPEECH_JAW * loudness
    tracks[:, UNITS.index("lip_press")] *= 1 - 0.8 * loudness
    tracks[:, UNITS.index("eyes_close")] += _blinks(len(time), random)
    return np.clip(tracks, np.where(_SIGNED, -1.5, 0.0), 1.5)


def _onset_apex_offset(time: Floats, random: np.random.Generator) -> Floats:
    """Return an envelope that rises before the voice starts, holds, and partly falls again."""
    rise = _smooth_step((time - random.uniform(0.02, 0.12)) / random.uniform(0.1, 0.2))
    fall = _smooth_step((time - random.uniform(0.72, 0.82)) / 0.18)
    return rise * (1 - random.uniform(0.5, 0.9) * fall)


def _smooth_step(x: Floats) -> Floats:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _wander(length: int, tracks: int, random: np.random.Generator) -> Floats:
    """Return slow movements of about unit size, `(length, tracks)`."""
    knots = np.linspace(0, length - 1, 7)
    return PchipInterpolator(knots, random.normal(0, 1, (len(knots), tracks)))(np.arange(length))


def _blinks(length: int, random: np.random.Generator) -> Floats:
    """Return one to three blinks of about 0.2 s."""
    moments = random.uniform(0, length, random.integers(1, 4))
    return np.exp(-(((np.arange(length)[:, None] - moments) / 2.0) ** 4)).max(axis=1)
