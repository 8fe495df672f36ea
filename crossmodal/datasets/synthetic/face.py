"""Drawing of a face: filled outlines that follow the action units. Lengths are as in `sketch`.

Head and shoulders fill the picture as in RAVDESS: in a 16:9 picture, the head covers 0.35 to 0.65 of the width and 0.04
to 0.77 of the height.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from crossmodal.datasets.synthetic.look import Colour, HairStyle, Look, mix
from crossmodal.datasets.synthetic.performance import Floats
from crossmodal.datasets.synthetic.sketch import AROUND, Sketch, between, curve, oval, rounded, stroke, symmetric

EYES = (0.5, 0.40)  # the point between the eyes at rest, in widths and heights of the picture
OVERSAMPLING = 2  # drawn pixels per output pixel, along each side
DRAWN_HALF_WIDTH = 0.37  # of the area that is redrawn in every video frame; only shoulders are outside it

EYE_WHITE: Colour = (247, 246, 244)
TEETH: Colour = (244, 241, 234)
MOUTH_INSIDE: Colour = (74, 22, 26)
TONGUE: Colour = (176, 84, 86)
DARK: Colour = (34, 26, 26)

ACROSS = np.linspace(-1, 1, 13)  # from one corner of an eye or a mouth to the other
ARC = 1 - ACROSS**2


def draw_face(look: Look, tracks: Floats, resolution: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Draw the video frames of a clip, (height, width, 3) RGB, with antialiasing by oversampling.

    The tracks are `UNITS` over time, (video frames, units); the resolution is width and height in pixels.
    """
    width, height = resolution
    left = max(0, round(EYES[0] * width - DRAWN_HALF_WIDTH * height))
    right = width - left
    pixels = height * OVERSAMPLING

    still = Sketch(tracks[:1], pixels, eyes=(EYES[0] * width / height, EYES[1]))
    still.add(_shoulders(), look.shirt, fixed=True)
    picture = np.array(still.paint(0, (width * OVERSAMPLING, pixels)).reduce(OVERSAMPLING))

    moving = Sketch(tracks, pixels, eyes=(EYES[0] * width / height - left / height, EYES[1]))
    for part in (_body, _head, _wrinkles, _eyes, _brows, _nose, _mouth, _hair):
        part(moving, look)
    for index in range(len(tracks)):
        drawn = moving.paint(index, ((right - left) * OVERSAMPLING, pixels)).reduce(OVERSAMPLING)
        picture[:, left:right] = np.asarray(drawn)
        yield picture.copy()


def _shoulders() -> Floats:
    neckline = rounded([(0.0, 0.565), (0.10, 0.555), (0.18, 0.50), (0.215, 0.425)])
    shoulder = rounded([(0.215, 0.425), (0.36, 0.47), (0.52, 0.52), (0.60, 0.61)])
    return symmetric(np.concatenate([neckline, shoulder]))


def _body(sketch: Sketch, look: Look) -> None:
    if look.hair_style in ("long", "bob", "fringe"):
        length = 0.50 if look.hair_style == "long" else 0.31
        crown = [(0.0, -0.378), (0.16, -0.378), (0.25, -0.28), (0.265, -0.05)]
        side = rounded([*crown, (0.30, 0.1), (0.285, length), (0.1, length)])
        sketch.add(symmetric(side), mix(look.hair, DARK, 0.35), depth=-0.3)
    else:
        sketch.add(_crown(look), look.hair_on_skin, depth=0.35)
    neck = 0.125 * look.jaw_width
    side = rounded([(neck, 0.15), (neck, 0.36), (neck + 0.01, 0.42), (0.235, 0.435), (0.235, 0.62)])
    sketch.add(symmetric(side), look.shaded(0.12), fixed=True)
    sketch.add(oval(0.0, 0.34, 0.95 * neck, 0.075), look.shaded(0.26), fixed=True)
    sketch.add(_shoulders(), look.shirt, fixed=True)


def _face_outline(sketch: Sketch, look: Look) -> Floats:
    down = np.maximum(np.sin(AROUND), 0)
    cosine = np.cos(AROUND)
    x = 0.222 * look.face_width * np.sign(cosine) * np.abs(cosine) ** 0.84
    x = x * (1 - (0.30 - 0.16 * look.jaw_width) * down**2)
    y = np.where(np.sin(AROUND) < 0, 0.33, 0.365 * look.face_length) * np.sin(AROUND)
    return curve(x, y + 0.04 * down**2 * sketch.units["jaw_drop"])


def _head(sketch: Sketch, look: Look) -> None:
    width = 0.222 * look.face_width
    sketch.add_pair(oval(width + 0.008, 0.02, 0.028, 0.055), look.shaded(0.10), depth=0.0)
    sketch.add_pair(oval(width + 0.011, 0.02, 0.014, 0.034), look.shaded(0.25), depth=0.0)
    outline = _face_outline(sketch, look)
    sketch.add(outline, look.shaded(0.10), depth=0.3)
    sketch.add(outline * (0.92, 0.965), look.skin, depth=0.5)
    if look.beard > 0:
        jaw = outline[:, : len(AROUND) // 2 + 1]
        sketch.add(
            between(jaw, jaw * (0.8, 0.36) + (0, 0.115)), mix(look.skin, look.hair, 0.15 + 0.5 * look.beard), 0.35
        )
    lift = sketch.units["cheek_raise"]
    for size, share in ((1.0, 0.05), (0.7, 0.09)):
        shares = (share * (1 + 1.2 * lift)).ravel()
        blush = [mix(look.skin, (226, 96, 84), share) for share in shares.tolist()]
        sketch.add_pair(oval(0.128, 0.120 - 0.012 * lift, 0.052 * size, 0.038 * size), blush)


def _wrinkles(sketch: Sketch, look: Look) -> None:
    units = sketch.units
    raised = np.maximum(units["brow_inner_raise"], units["brow_outer_raise"])
    for y in (-0.150, -0.178):
        wrinkle = curve(0.095 * ACROSS, y - 0.012 * raised - 0.006 * ARC)
        sketch.add(stroke(wrinkle, 0.008), look.shades(0.6 * raised - 0.1))
    frown = np.maximum(units["brow_lower"], 0.7 * units["nose_wrinkle"])
    sketch.add_pair(
        stroke(np.array([(0.020, -0.088), (0.013, -0.066), (0.014, -0.040)]), 0.009),
        look.shades(0.85 * frown - 0.06),
    )
    for y in (-0.012, 0.008, 0.028):
        wrinkle = curve(0.026 * ACROSS, y + 0.006 * ARC)
        sketch.add(stroke(wrinkle, 0.007), look.shades(0.85 * units["nose_wrinkle"] - 0.06), depth=1.3)
    cheek = np.maximum(units["cheek_raise"], 0.6 * units["lid_tighten"])
    pouch = curve(0.108 * look.eye_distance + 0.042 * ACROSS, 0.026 + 0.016 * ARC - 0.006 * cheek)
    sketch.add_pair(stroke(pouch, 0.007), look.shades(0.08 + 0.4 * cheek))
    fold = np.maximum(np.maximum(units["corner_pull"], units["nose_wrinkle"]), units["lip_raise"])
    corner = 0.105 + 0.018 * units["corner_pull"]
    x = np.concatenate([np.full_like(corner, 0.044), 0.5 * (0.056 + corner), corner], axis=1)
    y = np.array([0.125, 0.165, 0.222]) - 0.014 * units["nose_wrinkle"] - 0.01 * units["corner_pull"]
    sketch.add_pair(stroke(curve(x, y), 0.010), look.shades(0.08 + 0.65 * fold))


def _eyes(sketch: Sketch, look: Look) -> None:
    units, size = sketch.units, look.eye_size
    x = 0.108 * look.eye_distance + 0.043 * size * ACROSS
    lower = size * 0.0135 * (1 - 0.35 * units["cheek_raise"] - 0.35 * units["lid_tighten"]).clip(0.2)
    opening = (1 + 0.85 * units["lid_raise"] - 0.4 * units["lid_tighten"]).clip(0.2) * (1 - units["eyes_close"]).clip(0)
    upper = (opening * (size * 0.020 + lower) - lower).clip(max=0.038 * size)
    orbit = np.sqrt(ARC)
    upper_lid, lower_lid = curve(x, -upper * ARC), curve(x, lower * ARC)
    upper_orbit, lower_orbit = curve(x, -0.040 * size * orbit), curve(x, 0.030 * size * orbit)
    gaze = -0.010 * units["head_turn"]  # the eyes stay on the camera when the head turns
    lid = look.shaded(0.20)
    for side in (1, -1):
        mirror = np.array([side, 1])
        middle = side * 0.108 * look.eye_distance + gaze
        sketch.add(between(upper_orbit, lower_orbit) * mirror, EYE_WHITE)
        sketch.add(oval(middle, -0.002, 0.0205 * size, 0.0205 * size), look.iris)
        sketch.add(oval(middle, -0.002, 0.0095 * size, 0.0095 * size), DARK)
        sketch.add(oval(middle + 0.007, -0.009, 0.0045, 0.0045), EYE_WHITE)
        sketch.add(between(upper_orbit * (1, 1.06), upper_lid) * mirror, lid)
        sketch.add(between(lower_orbit * (1, 1.10), lower_lid) * mirror, look.skin)
        sketch.add(stroke(upper_lid, 0.010) * mirror, DARK)
        sketch.add(stroke(lower_lid, 0.004) * mirror, look.shaded(0.45))


def _brows(sketch: Sketch, look: Look) -> None:
    units = sketch.units
    outward = np.linspace(0, 1, 9)
    x = 0.040 + 0.122 * outward * look.eye_distance - 0.014 * units["brow_lower"] * (1 - outward)
    y = -0.070 - look.brow_slope * outward - 0.012 * np.sin(2.4 * outward) + 0.012 * outward**3
    y = y - 0.050 * units["brow_inner_raise"] * (1 - outward) ** 1.3
    y = y - 0.054 * units["brow_outer_raise"] * np.sin(0.5 * np.pi * (0.15 + 0.7 * outward))
    y = y + units["brow_lower"] * (0.040 - 0.036 * outward) + 0.008 * units["nose_wrinkle"]
    sketch.add_pair(stroke(curve(x, y), 0.021 * look.brow_thickness), mix(look.hair, DARK, 0.4))


def _nose(sketch: Sketch, look: Look) -> None:
    wrinkle = sketch.units["nose_wrinkle"]
    width, lift = look.nose_width * (1 + 0.15 * wrinkle), -0.012 * wrinkle
    bridge = np.concatenate([0.016 + 0 * width, 0.014 + 0 * width, 0.026 * width], axis=1)
    sketch.add(stroke(curve(bridge, np.array([-0.02, 0.06, 0.12]) + lift), 0.009), look.shaded(0.16), 1.3)
    sketch.add(oval(0.0, 0.122 + lift, 0.033 * width, 0.024), look.shaded(0.07), depth=1.5)
    sketch.add_pair(oval(0.030 * width, 0.132 + lift, 0.011 * width, 0.013), look.shaded(0.14), depth=1.4)
    sketch.add_pair(oval(0.0165 * width, 0.142 + lift, 0.0085 * width, 0.0055), look.shaded(0.7), depth=1.5)


def _mouth(sketch: Sketch, look: Look) -> None:
    units = sketch.units
    rounding = (units["jaw_drop"] - units["corner_pull"] - units["lip_stretch"]).clip(0)
    half = (
        0.088
        * look.mouth_width
        * (1 + 0.28 * units["corner_pull"] + 0.25 * units["lip_stretch"] - 0.08 * units["lip_press"] - 0.28 * rounding)
    )
    corner = 0.232 - 0.046 * units["corner_pull"] + 0.042 * units["corner_depress"] + 0.004 * units["lip_stretch"]
    top = 0.232 - 0.020 * units["lip_raise"] + 0.006 * units["corner_pull"] - 0.008 * units["corner_depress"]
    top = top - 0.010 * units["chin_raise"] - 0.006 * units["jaw_drop"]
    gap = 0.100 * units["jaw_drop"] + 0.022 * units["lip_raise"] + 0.014 * units["corner_pull"]
    gap = (gap + 0.016 * units["lip_stretch"] - 0.03 * units["lip_press"] - 0.014 * units["chin_raise"] - 0.006).clip(0)
    thickness = look.lip_fullness * (1 - 0.75 * units["lip_press"]).clip(0.15)
    bow = ARC * (1 - 0.22 * np.exp(-((ACROSS / 0.16) ** 2)))  # the dip in the upper lip

    x = half * ACROSS
    upper, lower = corner + (top - corner) * ARC, corner + (top + gap - corner) * (1 - np.abs(ACROSS) ** 2.6)
    teeth = np.minimum(upper + 0.020 * ARC, lower)
    tongue = np.maximum(lower - 0.35 * gap * ARC, teeth)
    lips = between(curve(1.03 * x, upper - 0.0155 * thickness * bow), curve(1.03 * x, lower + 0.0195 * thickness * ARC))
    sketch.add(lips, look.lips)
    sketch.add(between(curve(x, upper), curve(x, lower)), MOUTH_INSIDE)
    sketch.add(between(curve(x, upper), curve(x, teeth)), TEETH)
    sketch.add(between(curve(0.7 * x, tongue), curve(0.7 * x, lower)), TONGUE)
    sketch.add(stroke(curve(1.02 * x, upper), 0.006), mix(look.lips, DARK, 0.65))
    below = curve(0.5 * x, lower[:, [6]] + 0.038 - 0.006 * ARC)
    sketch.add(stroke(below, 0.010), look.shades(0.14 + 0.35 * units["chin_raise"]))


# Extent of the hair beyond the side of the face, and above the eyes at the crown. Height of the hairline above the eyes
# from the left ear over the forehead to the right ear.
HAIR: dict[HairStyle, tuple[float, float, tuple[float, ...]]] = {
    "short": (0.012, 0.362, (0.00, 0.14, 0.19, 0.20, 0.205, 0.20, 0.19, 0.14, 0.00)),
    "parted": (0.016, 0.372, (0.00, 0.13, 0.17, 0.18, 0.20, 0.235, 0.25, 0.16, 0.00)),
    "shaved": (0.003, 0.342, (0.04, 0.17, 0.22, 0.235, 0.23, 0.235, 0.22, 0.17, 0.04)),
    "long": (0.028, 0.375, (-0.06, 0.06, 0.14, 0.20, 0.265, 0.20, 0.14, 0.06, -0.06)),
    "bob": (0.030, 0.375, (-0.06, 0.08, 0.13, 0.15, 0.18, 0.23, 0.23, 0.14, -0.06)),
    "fringe": (0.030, 0.375, (-0.06, 0.08, 0.150, 0.152, 0.150, 0.152, 0.150, 0.08, -0.06)),
}


def _crown(look: Look) -> Floats:
    """Return the upper outline of the hair, from the left ear over the head to the right ear."""
    side, height, _ = HAIR[look.hair_style]
    angles = np.linspace(np.pi, 2 * np.pi, 25)
    x = (0.222 * look.face_width + side) * np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** 0.85
    return curve(x, -height * np.abs(np.sin(angles)) ** 0.85)


def _hair(sketch: Sketch, look: Look) -> None:
    across = 0.222 * look.face_width * np.array([-0.99, -0.93, -0.80, -0.45, 0.0, 0.45, 0.80, 0.93, 0.99])
    hairline = curve(across, -np.array(HAIR[look.hair_style][2]))
    crown = np.concatenate([hairline[:1], _crown(look), hairline[-1:]])
    sketch.add(between(crown, rounded(hairline)), look.hair_on_skin, depth=0.35)
