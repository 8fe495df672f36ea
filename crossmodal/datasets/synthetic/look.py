"""Appearance of actors."""

from typing import Literal, TypeVar

import numpy as np

from crossmodal.datasets.synthetic.performance import Floats, random_stream

Colour = tuple[int, int, int]
Choice = TypeVar("Choice")

LIGHT_SKINS: list[Colour] = [(246, 214, 190), (235, 194, 162), (222, 174, 138)]
DARK_SKINS: list[Colour] = [(198, 146, 108), (158, 108, 76), (118, 78, 56)]
DARK_HAIRS: list[Colour] = [(38, 30, 28), (66, 44, 32)]
LIGHT_HAIRS: list[Colour] = [(104, 70, 44), (150, 108, 62), (206, 168, 104), (140, 62, 36), (128, 124, 122)]
IRISES: list[Colour] = [(82, 52, 34), (70, 96, 128), (84, 112, 84), (110, 84, 50)]
SHIRTS: list[Colour] = [(28, 28, 32), (48, 60, 92), (94, 40, 46), (58, 80, 66), (104, 104, 112), (196, 190, 180)]

HairStyle = Literal["short", "parted", "shaved", "long", "bob", "fringe"]
MALE_STYLES: list[HairStyle] = ["short", "parted", "shaved"]
FEMALE_STYLES: list[HairStyle] = ["long", "bob", "fringe"]


class Look:
    """Appearance of an actor; odd actors are male. Unless noted, sizes are factors relative to an average face."""

    def __init__(self, actor: int, seed: int) -> None:
        random = random_stream(seed, "look", actor)
        male = actor % 2 == 1

        def around_one(spread: float) -> float:
            return float(np.clip(random.normal(1, spread), 1 - 2 * spread, 1 + 2 * spread))

        def one_of(choices: list[Choice]) -> Choice:
            return choices[random.integers(len(choices))]

        # The order of these lines determines the random numbers.
        self.skin = one_of(LIGHT_SKINS + DARK_SKINS)
        light = self.skin in LIGHT_SKINS
        self.hair = one_of(DARK_HAIRS + LIGHT_HAIRS if light else DARK_HAIRS)
        self.iris = one_of(IRISES if light else IRISES[:1])
        self.shirt = one_of(SHIRTS)
        self.lips = mix(self.skin, (172, 62, 68) if male else (188, 40, 62), 0.35 if male else 0.6)
        self.hair_style = one_of(MALE_STYLES if male else FEMALE_STYLES)
        self.beard = max(0.0, random.uniform(-1.0, 1.0)) if male else 0.0  # 0 none, 1 full
        self.face_width = around_one(0.045) * (1.03 if male else 0.97)
        self.jaw_width = around_one(0.06) * (1.08 if male else 0.94)
        self.face_length = around_one(0.025)
        self.eye_distance = around_one(0.04)
        self.eye_size = around_one(0.06) * (1.15 if male else 1.28)
        self.brow_thickness = around_one(0.15) * (1.25 if male else 0.9)
        self.brow_slope = random.normal(0.004, 0.004)  # heights of the picture, outer end above inner end
        self.nose_width = around_one(0.1) * (1.08 if male else 0.94)
        self.mouth_width = around_one(0.07)
        self.lip_fullness = around_one(0.15) * (0.95 if male else 1.15)

    @property
    def shadow(self) -> Colour:
        """Colour of a fold in shadow."""
        return mix(self.skin, (30, 0, 0), 0.65)

    def shaded(self, share: float) -> Colour:
        """Return the colour of skin with a share of shadow."""
        return mix(self.skin, self.shadow, share)

    def shades(self, shares: Floats) -> list[Colour]:
        """Return the colour of skin for each video frame, with shares of shadow that are limited to 0 to 1."""
        return [self.shaded(share) for share in np.clip(shares, 0, 1).ravel().tolist()]

    @property
    def hair_on_skin(self) -> Colour:
        """Colour of the hair on the head; the skin is visible through shaved hair."""
        return mix(self.skin, self.hair, 0.4) if self.hair_style == "shaved" else self.hair


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """Mix two colours; `share` of `other` is from 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue
