"""Drawing of a face: filled outlines that follow the action units.

Lengths are in heights of the picture, relative to the point between the eyes, x to the right and y down. Head and
shoulders fill the picture as in RAVDESS: in a 16:9 picture, the head covers 0.35 to 0.65 of the width and 0.04 to 0.77
of the height.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from crossmodal.datasets.synthetic.action_units import UNITS
from crossmodal.datasets.synthetic.performance import Floats, random_stream

Colour = tuple[int, int, int]

EYES = np.array([0.5, 0.40])  # the point between the eyes at rest, in widths and heights of the picture
NECK = np.array([0.0, 0.42])  # centre of rotation of the head
OVERSAMPLING = 2  # drawn pixels per output pixel, along each side

SKINS: list[Colour] = [(246, 214, 190), (235, 194, 162), (222, 174, 138), (198, 146, 108), (158, 108, 76)]
HAIRS: list[Colour] = [(38, 30, 28), (66, 44, 32), (104, 70, 44), (150, 108, 62), (206, 168, 104), (128, 124, 122)]
BACKGROUND, SHIRT, EYE_WHITE, TEETH = (250, 250, 251), (48, 60, 92), (247, 246, 244), (244, 241, 234)
MOUTH_INSIDE, IRIS, DARK, SHADOW = (74, 22, 26), (82, 52, 34), (34, 26, 26), (30, 0, 0)

ACROSS = np.linspace(-1, 1, 13)  # from one corner of an eye or a mouth to the other
ARC = 1 - ACROSS**2
AROUND = np.linspace(0, 2 * np.pi, 40, endpoint=False)


class Look:
    """Appearance of an actor; odd actors are male. Sizes are factors relative to an average face."""

    def __init__(self, actor: int, seed: int) -> None:
        random = random_stream(seed, "look", actor)
        self.male = actor % 2 == 1
        self.skin, self.hair = (colours[random.integers(len(colours))] for colours in (SKINS, HAIRS))
        self.lips = _mix(self.skin, (172, 50, 65), 0.35 if self.male else 0.6)
        spreads = np.array([0.045, 0.04, 0.06, 0.15, 0.07])
        sizes = 1 + spreads * np.clip(random.normal(size=len(spreads)), -2, 2)
        self.face_width, self.eye_distance, self.eye_size, self.brow_thickness, self.mouth_width = sizes.tolist()

    def shaded(self, share: float) -> Colour:
        """Return the colour of skin with a share of shadow, from 0 to 1."""
        return _mix(self.skin, SHADOW, 0.65 * share)


class _Sketch:
    """Outlines of all video frames of a clip, in painting order."""

    def __init__(self, tracks: Floats, width: int, height: int) -> None:
        # (video frames, 1) for each unit, which broadcasts with the points of an outline to (video frames, points).
        self.units = {unit: tracks[:, [index]] for index, unit in enumerate(UNITS)}
        self.painted: list[tuple[Floats, Colour]] = []
        self._pixels, self._eyes = height * OVERSAMPLING, EYES * (width / height, 1)
        turn, down = self.units["head_turn"], self.units["head_down"]
        angle = np.radians(8) * self.units["head_tilt"] + np.radians(1.5) * turn
        size = 1 + 0.05 * self.units["head_forward"]
        cosine, sine = size * np.cos(angle), size * np.sin(angle)
        self._rotation = np.stack([cosine, sine, -sine, cosine], axis=-1).reshape(-1, 2, 2)
        self._turn = np.stack([0.022 * turn, 0.026 * down], axis=-1)
        self._shift = np.stack([0.012 * turn, 0.012 * down], axis=-1)

    def add(self, outline: Floats, colour: Colour, depth: float = 1.0, fixed: bool = False) -> None:
        """Add a filled outline, (points, 2) or (video frames, points, 2).

        The depth is its protrusion from a head that faces the camera: the amount of motion when the head turns or nods.
        Fixed outlines do not move with the head.
        """
        points = np.broadcast_to(outline, (len(self._turn), *outline.shape[-2:]))
        if not fixed:
            points = (points + depth * self._turn - NECK) @ self._rotation + (NECK + self._shift)
        pixels = np.ascontiguousarray((points + self._eyes) * self._pixels, dtype=np.float32)
        self.painted.append((pixels, colour))

    def add_pair(self, outline: Floats, colour: Colour, depth: float = 1.0) -> None:
        """Add an outline on the right side of the picture, and its mirror image on the left."""
        self.add(outline, colour, depth)
        self.add(outline * (-1, 1), colour, depth)


def draw_face(look: Look, tracks: Floats, resolution: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Draw the video frames of a clip, (height, width, 3) RGB, with antialiasing by oversampling.

    The tracks are `UNITS` over time, (video frames, units); the resolution is width and height in pixels.
    """
    width, height = resolution
    sketch = _Sketch(tracks, width, height)
    for part in (_head, _eyes, _brows, _mouth):
        part(sketch, look)
    for index in range(len(tracks)):
        image = Image.new("RGB", (width * OVERSAMPLING, height * OVERSAMPLING), BACKGROUND)
        draw = ImageDraw.Draw(image)
        for outlines, colour in sketch.painted:
            draw.polygon(outlines[index], colour)  # Pillow reads float32 without conversion
        yield np.asarray(image.reduce(OVERSAMPLING))


def _head(sketch: _Sketch, look: Look) -> None:
    if not look.male:
        sketch.add(_oval(0, 0.06, 0.275, 0.40), _mix(look.hair, DARK, 0.35), depth=-0.3)
    sketch.add(_oval(0, 0.30, 0.125, 0.24), look.shaded(0.18), fixed=True)
    sketch.add(_oval(0, 0.80, 0.55, 0.38), SHIRT, fixed=True)
    width = 0.222 * look.face_width
    sketch.add(_oval(0, -0.12, width + 0.02, 0.25), look.hair, depth=0.35)
    cosine, sine = np.cos(AROUND), np.sin(AROUND)
    down = np.maximum(sine, 0) ** 2
    x = width * np.sign(cosine) * np.abs(cosine) ** 0.84 * (1 - 0.14 * down)
    y = np.where(sine < 0, 0.22, 0.365) * sine + 0.04 * down * sketch.units["jaw_drop"]
    sketch.add(_curve(x, y), look.shaded(0.10), depth=0.3)
    sketch.add(_curve(x, y) * (0.92, 0.965), look.skin, depth=0.5)
    wrinkle = sketch.units["nose_wrinkle"]
    nose = _curve(np.array([0.016, 0.014, 0.026]), np.array([-0.02, 0.06, 0.12]) - 0.012 * wrinkle)
    sketch.add(_stroke(nose, 0.009), look.shaded(0.16), depth=1.3)
    sketch.add_pair(_oval(0.0165, 0.142 - 0.012 * wrinkle, 0.0085, 0.0055), look.shaded(0.7), depth=1.5)


def _eyes(sketch: _Sketch, look: Look) -> None:
    units, size = sketch.units, 1.2 * look.eye_size
    x = 0.108 * look.eye_distance + 0.043 * size * ACROSS
    lower = size * 0.0135 * (1 - 0.35 * units["cheek_raise"] - 0.35 * units["lid_tighten"]).clip(0.2)
    opening = (1 + 0.85 * units["lid_raise"] - 0.4 * units["lid_tighten"]).clip(0.2) * (1 - units["eyes_close"]).clip(0)
    upper = (opening * (size * 0.020 + lower) - lower).clip(max=0.038 * size)
    upper_lid, lower_lid = _curve(x, -upper * ARC), _curve(x, lower * ARC)
    upper_orbit, lower_orbit = (_curve(x, height * size * np.sqrt(ARC)) for height in (-0.040, 0.030))
    gaze = -0.010 * units["head_turn"]  # the eyes stay on the camera when the head turns
    for side in (1, -1):
        mirror = np.array([side, 1])
        middle = side * 0.108 * look.eye_distance + gaze
        sketch.add(_between(upper_orbit, lower_orbit) * mirror, EYE_WHITE)
        sketch.add(_oval(middle, -0.002, 0.0205 * size, 0.0205 * size), IRIS)
        sketch.add(_oval(middle, -0.002, 0.0095 * size, 0.0095 * size), DARK)
        sketch.add(_between(upper_orbit * (1, 1.06), upper_lid) * mirror, look.shaded(0.20))
        sketch.add(_between(lower_orbit * (1, 1.10), lower_lid) * mirror, look.skin)
        sketch.add(_stroke(upper_lid, 0.010) * mirror, DARK)


def _brows(sketch: _Sketch, look: Look) -> None:
    units = sketch.units
    outward = np.linspace(0, 1, 9)
    x = 0.040 + 0.122 * outward * look.eye_distance - 0.014 * units["brow_lower"] * (1 - outward)
    y = -0.070 - 0.004 * outward - 0.012 * np.sin(2.4 * outward) + 0.012 * outward**3
    y = y - 0.050 * units["brow_inner_raise"] * (1 - outward) ** 1.3
    y = y - 0.054 * units["brow_outer_raise"] * np.sin(0.5 * np.pi * (0.15 + 0.7 * outward))
    y = y + units["brow_lower"] * (0.040 - 0.036 * outward) + 0.008 * units["nose_wrinkle"]
    sketch.add_pair(_stroke(_curve(x, y), 0.021 * look.brow_thickness), _mix(look.hair, DARK, 0.4))


def _mouth(sketch: _Sketch, look: Look) -> None:
    units = sketch.units
    rounding = (units["jaw_drop"] - units["corner_pull"] - units["lip_stretch"]).clip(0)
    half = 1 + 0.28 * units["corner_pull"] + 0.25 * units["lip_stretch"] - 0.08 * units["lip_press"] - 0.28 * rounding
    corner = 0.232 - 0.046 * units["corner_pull"] + 0.042 * units["corner_depress"] + 0.004 * units["lip_stretch"]
    top = 0.232 - 0.020 * units["lip_raise"] + 0.006 * units["corner_pull"] - 0.008 * units["corner_depress"]
    top = top - 0.010 * units["chin_raise"] - 0.006 * units["jaw_drop"]
    gap = 0.100 * units["jaw_drop"] + 0.022 * units["lip_raise"] + 0.014 * units["corner_pull"]
    gap = (gap + 0.016 * units["lip_stretch"] - 0.03 * units["lip_press"] - 0.014 * units["chin_raise"] - 0.006).clip(0)
    thickness = (1 - 0.75 * units["lip_press"]).clip(0.15)

    x = 0.088 * look.mouth_width * half * ACROSS
    upper, lower = corner + (top - corner) * ARC, corner + (top + gap - corner) * (1 - np.abs(ACROSS) ** 2.6)
    teeth = np.minimum(upper + 0.020 * ARC, lower)
    lips = [_curve(1.03 * x, edge + height * thickness * ARC) for edge, height in ((upper, -0.0145), (lower, 0.0195))]
    sketch.add(_between(*lips), look.lips)
    sketch.add(_between(_curve(x, upper), _curve(x, lower)), MOUTH_INSIDE)
    sketch.add(_between(_curve(x, upper), _curve(x, teeth)), TEETH)
    sketch.add(_stroke(_curve(1.02 * x, upper), 0.006), _mix(look.lips, DARK, 0.65))


def _mix(colour: Colour, other: Colour, share: float) -> Colour:
    """Mix two colours; `share` of `other` is from 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _curve(x: Floats | float, y: Floats | float) -> Floats:
    """Return a line through points; the coordinates may differ between video frames."""
    return np.stack(np.broadcast_arrays(x, y), axis=-1)


def _between(one: Floats, other: Floats) -> Floats:
    """Return the outline of the area between two lines in the same direction."""
    frames = np.broadcast_shapes(one.shape[:-2], other.shape[:-2])
    curves = [np.broadcast_to(side, frames + side.shape[-2:]) for side in (one, other[..., ::-1, :])]
    return np.concatenate(curves, axis=-2)


def _oval(x: Floats | float, y: Floats | float, half_width: Floats | float, half_height: Floats | float) -> Floats:
    return _curve(x + half_width * np.cos(AROUND), y + half_height * np.sin(AROUND))


def _stroke(path: Floats, width: float) -> Floats:
    """Return the outline of a brush stroke along a line, with thin ends."""
    along = np.gradient(path, axis=-2)
    across = along[..., ::-1] * (-1, 1) / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    taper = np.sin(np.linspace(0.12, np.pi - 0.12, path.shape[-2])) ** 0.6
    half = 0.5 * width * across * taper[:, None]
    return _between(path + half, path - half)
