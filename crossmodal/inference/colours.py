"""The colours of emotions, the same in every picture and on the page.

They are Okabe and Ito's, made to be told apart by every eye, with a light grey. Yet no picture tells an emotion by its
colour alone: its name stands beside it.
"""

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
    """A colour for each label and for silence; labels that are no emotion of ours take the colours that are left.

    Example:
        >>> colours_of(("happy", "bored"))
        {'happy': '#e69f00', 'bored': '#bbbbbb', 'silence': '#e3e3e3'}
    """
    left = [colour for emotion, colour in EMOTION_COLOURS.items() if emotion not in labels]
    spare = cycle(left or EMOTION_COLOURS.values())
    return {label: EMOTION_COLOURS.get(label) or next(spare) for label in labels} | {SILENCE: SILENCE_COLOUR}


def ink_on(colour: str) -> str:
    """Black or white, whichever is the better legible on a colour.

    Example:
        >>> ink_on("#f0e442"), ink_on("#0072b2")
        ('#111111', '#ffffff')
    """
    light = luminance(colour) + 0.05
    return DARK_INK if light / (luminance(DARK_INK) + 0.05) >= (luminance(LIGHT_INK) + 0.05) / light else LIGHT_INK


def luminance(colour: str) -> float:
    """The relative luminance of a colour such as ``#56b4e9``, 0 to 1, as WCAG 2 has it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
