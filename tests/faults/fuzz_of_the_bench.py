"""Readers that do what no reader may, by which the bench itself is tried."""

import os
from pathlib import Path
from random import Random

from crossmodal.errors import DataError
from tests.faults.attempts import Damaged, Way

SECONDS, MEMORY = 10.0, 512.0


def good(folder: Path) -> list[Path]:
    """Nothing."""
    return []


def damage(rng: Random, folder: Path) -> Damaged:
    """Anything."""
    return Damaged("any", "any.txt", rng.randbytes(3))


def ways(folder: Path, path: Path) -> dict[str, Way]:
    """What should be seen, and how."""

    def fail() -> str | None:
        raise KeyError(path)

    def tell() -> str | None:
        raise DataError(f"{path} is damaged.")

    return {
        "fails": Way(fail),
        "tells": Way(tell),
        "ends the process": Way(lambda: os._exit(1)),
        "ends a process of its own": Way(lambda: os._exit(1), isolated=True),
    }
