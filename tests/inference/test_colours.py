from itertools import combinations

import numpy as np
import pytest

from crossmodal.inference.colours import EMOTION_COLOURS, SILENCE_COLOUR, colours_of, ink_on, luminance
from crossmodal.inference.prediction import SILENCE

# Linear RGB as seen without one kind of cone (Machado, Oliveira and Fernandes 2009, table 1).
EYES = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
JUST_NOTICEABLE = 2.3  # CIE 1976


def linear(colour):
    channels = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def seen(colour, eye):
    """Return a colour in CIELAB, where distances are perceptual."""
    share = XYZ @ np.clip(np.array(EYES[eye]) @ linear(colour), 0, 1) / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
def test_emotions_are_distinguishable_with_every_kind_of_vision(eye):
    places = {emotion: seen(colour, eye) for emotion, colour in EMOTION_COLOURS.items()}
    distances = {pair: np.linalg.norm(places[pair[0]] - places[pair[1]]) for pair in combinations(places, 2)}
    nearest = min(distances, key=distances.__getitem__)
    assert distances[nearest] > 6 * JUST_NOTICEABLE, nearest


@pytest.mark.parametrize("colour", [*EMOTION_COLOURS.values(), SILENCE_COLOUR])
def test_text_on_a_colour_is_legible(colour):
    darker, lighter = sorted([luminance(colour), luminance(ink_on(colour))])
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2, AA


def test_luminance_follows_the_standard():
    assert luminance("#ffffff") == pytest.approx(1)
    assert luminance("#000000") == 0
    for colour in EMOTION_COLOURS.values():
        assert luminance(colour) == pytest.approx(XYZ[1] @ linear(colour))


def test_known_labels_keep_their_colours():
    mine = colours_of(("bored", "sad", "keen", "angry"))
    assert list(mine) == ["bored", "sad", "keen", "angry", SILENCE]
    assert (mine["sad"], mine["angry"]) == (EMOTION_COLOURS["sad"], EMOTION_COLOURS["angry"])
    assert len(set(mine.values())) == 5


def test_more_labels_than_colours():
    many = colours_of([f"emotion {number}" for number in range(20)])
    assert len(many) == 21
    assert set(many.values()) == {*EMOTION_COLOURS.values(), SILENCE_COLOUR}
