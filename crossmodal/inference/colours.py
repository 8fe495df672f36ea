"""Colours of emotions in plots and on the page: the colour-blind safe palette of Okabe and Ito with a light grey."""

from collections.abc import Sequence
from itertools import cycle

from crossmodal.inference.prediction import SILENCE

EMOTION_COLOURS = {
    "neutral": "#bbbbbb",
    "calm": "#56b4e9",
    "happy": "#e69f00",
    "sad": "#0072b2",
    "angry": "#d55e00",
    "fearful": "#cc79a7",
    "disgust": "#009e73",
    "surprised": "#f0e442",
}
SILENCE_COLOUR = "#e3e3e3"
DARK_INK, LIGHT_INK = "#111111", "#ffffff"


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each label and for silence. Labels without a colour of their own get the unused colours."""
    unused = [colour for emotion, colour in EMOTION_COLOURS.items() if emotion not in labels]
    spare = cycle(unused or EMOTION_COLOURS.values())
    return {label: EMOTION_COLOURS.get(label) or next(spare) for label in labels} | {SILENCE: SILENCE_COLOUR}


def ink_on(colour: str) -> str:
    """Return black or white, the one with more contrast to a colour."""
    dark, light, background = (luminance(one) + 0.05 for one in (DARK_INK, LIGHT_INK, colour))
    return DARK_INK if background / dark >= light / background else LIGHT_INK


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2) of a colour such as ``#56b4e9``, from 0 to 1."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
