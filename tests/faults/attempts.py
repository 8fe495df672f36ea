"""One damaged input and the ways in which it is read, in a child process: what came of it, and what it took."""

import importlib
import re
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from crossmodal.apps.serve.limits import RequestError
from crossmodal.errors import CrossmodalError

READ = "read all the same"
_MOST = 4 << 30  # bytes of a child, for the sake of the machine that it runs on


@dataclass(frozen=True)
class Damaged:
    """An input.

    Args:
        damage: What was done to it.
        name: Of its file.
        content: Of its file.
    """

    damage: str
    name: str
    content: bytes


@dataclass(frozen=True)
class Way:
    """A way in which the library reads a file.

    Args:
        run: Reads it; may say in a word what it came to.
        isolated: Whether the library promises to do so in a process whose end harms no other.
    """

    run: Callable[[], str | None]
    isolated: bool = False


@dataclass(frozen=True)
class Job:
    """An input to make and to read.

    Args:
        kind: The module that knows how.
        folder: Of what is damaged, and of the input.
        seed: Of all inputs.
        number: Of this one.
        way: The only way to be tried; all of them if not given.
    """

    kind: str
    folder: Path
    seed: int
    number: int
    way: str | None = None

    @property
    def module(self) -> Any:
        """What knows the kind."""
        return importlib.import_module(f"tests.faults.fuzz_{self.kind}")

    def make(self) -> Damaged:
        """The same input whenever it is asked for."""
        damaged: Damaged = self.module.damage(Random(f"{self.seed} {self.number}"), self.folder)
        return damaged


@dataclass(frozen=True)
class Attempt:
    """What came of one way.

    Args:
        damage: Of the input.
        way: In which it was read.
        answer: That it was read, or what was raised.
        foreign: What was raised in full, where it was no error of ours.
        seconds: It took.
        memory: MB at the most over those that the process had before.
    """

    damage: str
    way: str
    answer: str
    foreign: str = ""
    seconds: float = 0.0
    memory: float = 0.0


def attempt(job: Job) -> list[Attempt]:
    """Read an input in all ways, in a process that is there for nothing else."""
    _warm_up(job.kind, job.folder)
    return read(job)


def read(job: Job) -> list[Attempt]:
    """Read an input in all ways."""
    damaged = job.make()
    path = job.folder / damaged.name
    path.write_bytes(damaged.content)
    try:
        ways = job.module.ways(job.folder, path)
        return [_try(damaged.damage, name, way) for name, way in ways.items() if job.way in (None, name)]
    finally:
        path.unlink(missing_ok=True)


def _try(damage: str, name: str, way: Way) -> Attempt:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, began, foreign = _memory("VmRSS"), time.perf_counter(), ""
    try:
        answer = way.run() or READ
    except RequestError as error:
        answer = f"refused: {error.code}"
    except CrossmodalError as error:
        answer = type(error).__name__
        if not str(error).strip():
            foreign = f"{answer} without a word"
    except BaseException as error:
        answer, foreign = f"foreign: {type(error).__name__}", traceback.format_exc()
    return Attempt(damage, name, answer, foreign, time.perf_counter() - began, _memory("VmHWM") - before)


@cache
def _warm_up(kind: str, folder: Path) -> None:
    """Read what is not damaged, once in a process, so that all is imported."""
    module = importlib.import_module(f"tests.faults.fuzz_{kind}")
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST if most == resource.RLIM_INFINITY else min(_MOST, most), most))
    for path in module.good(folder):
        for name, way in module.ways(folder, path).items():
            _try("none", name, way)


def _memory(name: str) -> float:
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found, f"Linux's /proc does not tell {name}"
    return int(found[1]) / 1024
