"""Outlines, and a sketch that paints them for every video frame of a clip.

Lengths are in heights of the picture, relative to the point between the eyes, x to the right and y down.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from crossmodal.datasets.synthetic.action_units import UNITS
from crossmodal.datasets.synthetic.look import Colour
from crossmodal.datasets.synthetic.performance import Floats

NECK = np.array([0.0, 0.42])  # centre of rotation of the head
BACKGROUND: Colour = (250, 250, 251)
AROUND = np.linspace(0, 2 * np.pi, 40, endpoint=False)


class Sketch:
    """Outlines of all video frames of a clip, in painting order, for tracks of `UNITS`, (video frames, units).

    The height of the picture is in pixels, and the point between the eyes at rest in heights of the picture.
    """

    def __init__(self, tracks: Floats, pixels: int, eyes: tuple[float, float]) -> None:
        # (video frames, 1) for each unit, which broadcasts with the points of an outline to (video frames, points).
        self.units = {unit: tracks[:, [index]] for index, unit in enumerate(UNITS)}
        self._pixels, self._eyes = pixels, np.array(eyes)
        self._painted: list[tuple[Floats, list[Colour]]] = []
        angle = np.radians(8) * self.units["head_tilt"] + np.radians(1.5) * self.units["head_turn"]
        size = 1 + 0.05 * self.units["head_forward"]
        cosine, sine = size * np.cos(angle), size * np.sin(angle)
        self._rotation = np.stack([cosine, sine, -sine, cosine], axis=-1).reshape(-1, 2, 2)
        self._turn = np.stack([0.022 * self.units["head_turn"], 0.026 * self.units["head_down"]], axis=-1)
        self._shift = np.concatenate([0.012 * self.units["head_turn"], 0.012 * self.units["head_down"]], axis=-1)

    def add(self, outline: Floats, colour: Colour | list[Colour], depth: float = 1.0, fixed: bool = False) -> None:
        """Add a filled outline, (points, 2) or (video frames, points, 2), in one colour or one per video frame.

        The depth is its protrusion from a head that faces the camera: the amount of motion when the head turns or nods.
        Fixed outlines do not move with the head.
        """
        frames = len(self._turn)
        points = np.broadcast_to(outline, (frames, *outline.shape[-2:]))
        if not fixed:
            points = (points + depth * self._turn - NECK) @ self._rotation + (NECK + self._shift[:, None])
        pixels = np.ascontiguousarray((points + self._eyes) * self._pixels, dtype=np.float32)
        self._painted.append((pixels, colour if isinstance(colour, list) else [colour] * frames))

    def add_pair(self, outline: Floats, colour: Colour | list[Colour], depth: float = 1.0) -> None:
        """Add an outline on the right side of the picture, and its mirror image on the left."""
        self.add(outline, colour, depth)
        self.add(outline * (-1, 1), colour, depth)

    def paint(self, index: int, size: tuple[int, int]) -> Image.Image:
        """Paint one video frame of a size in pixels."""
        image = Image.new("RGB", size, BACKGROUND)
        draw = ImageDraw.Draw(image)
        for outlines, colours in self._painted:
            draw.polygon(outlines[index], colours[index])  # Pillow reads float32 without conversion
        return image


def rounded(corners: Floats | Sequence[tuple[float, float]]) -> Floats:
    """Return a curve that cuts the corners of an open line, after Chaikin (1974)."""
    corners = np.asarray(corners)
    for _ in range(2):
        one, other = corners[:-1], corners[1:]
        cut = np.stack([0.75 * one + 0.25 * other, 0.25 * one + 0.75 * other], axis=1).reshape(-1, 2)
        corners = np.concatenate([corners[:1], cut, corners[-1:]])
    return corners


def curve(x: Floats | float, y: Floats | float) -> Floats:
    """Return a line through points; the coordinates may differ between video frames."""
    return np.stack(np.broadcast_arrays(x, y), axis=-1)


def between(one: Floats, other: Floats) -> Floats:
    """Return the outline of the area between two lines in the same direction."""
    frames = np.broadcast_shapes(one.shape[:-2], other.shape[:-2])
    curves = [np.broadcast_to(side, frames + side.shape[-2:]) for side in (one, other[..., ::-1, :])]
    return np.concatenate(curves, axis=-2)


def symmetric(side: Floats) -> Floats:
    """Return the outline of the area between a line and its mirror image."""
    return between(side, side * (-1, 1))


def oval(x: Floats | float, y: Floats | float, half_width: Floats | float, half_height: Floats | float) -> Floats:
    """Return an ellipse around a point."""
    return curve(x + half_width * np.cos(AROUND), y + half_height * np.sin(AROUND))


def stroke(path: Floats, width: Floats | float) -> Floats:
    """Return the outline of a brush stroke along a line, with thin ends."""
    along = np.gradient(path, axis=-2)
    across = along[..., ::-1] * (-1, 1) / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    taper = np.sin(np.linspace(0.12, np.pi - 0.12, path.shape[-2])) ** 0.6
    half = 0.5 * across * (taper * width)[..., None]
    return between(path + half, path - half)
