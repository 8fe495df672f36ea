"""Misbehaving readers, to test the fuzzer itself."""

import os
from pathlib import Path
from random import Random

from crossmodal.errors import DataError
from tests.faults.attempts import Damaged, Way

SECONDS, MEMORY = 10.0, 512.0


def good(folder: Path) -> list[Path]:
    """Return no files."""
    return []


def damage(rng: Random, folder: Path) -> Damaged:
    """Return random bytes."""
    return Damaged("any", "any.txt", rng.randbytes(3))


def ways(folder: Path, path: Path) -> dict[str, Way]:
    """Return readers that fail, raise our error or end their process."""

    def fail() -> str | None:
        raise KeyError(path)

    def refuse() -> str | None:
        raise DataError(f"{path} is damaged.")

    return {
        "fails": Way(fail),
        "refuses": Way(refuse),
        "ends the process": Way(lambda: os._exit(1)),
        "ends a process of its own": Way(lambda: os._exit(1), isolated=True),
    }
