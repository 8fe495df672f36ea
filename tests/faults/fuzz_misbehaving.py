"""Misbehaving readers, to test the fuzzer itself."""

import os
from pathlib import Path
from random import Random

from crossmodal.errors import DataError
from tests.faults.attempts import Damaged, Way

SECONDS, MEMORY = 10.0, 512.0


def good(folder: Path) -> list[Path]:
    return []


def damage(rng: Random, folder: Path) -> Damaged:
    return Damaged("any", "any.txt", rng.randbytes(3))


def ways(folder: Path, path: Path) -> dict[str, Way]:
    """Return readers that fail, raise our error or end their process."""

    def fail(error: Exception) -> str | None:
        raise error

    return {
        "fails": Way(lambda: fail(KeyError(path))),
        "refuses": Way(lambda: fail(DataError(f"{path} is damaged."))),
        "ends the process": Way(lambda: os._exit(1)),
        "ends a process of its own": Way(lambda: os._exit(1), isolated=True),
    }
