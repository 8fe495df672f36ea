"""Read one damaged input in all ways in a child process, and record result, time and memory."""

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

READ = "read"
_MOST = 4 << 30  # bytes of data of a child process, to protect the machine


@dataclass(frozen=True)
class Damaged:
    """A damaged input: kind of damage, name and content of the file."""

    damage: str
    name: str
    content: bytes


@dataclass(frozen=True)
class Way:
    """A way in which the library reads a file."""

    run: Callable[[], str | None]  # may return a short description of the result
    isolated: bool = False  # True if the library reads in a child process that may crash


@dataclass(frozen=True)
class Job:
    kind: str  # suffix of its module
    folder: Path  # of the good files and of the input
    seed: int
    number: int
    way: str | None = None  # name of a single way to try; None for all

    @property
    def module(self) -> Any:
        return importlib.import_module(f"tests.faults.fuzz_{self.kind}")

    def make(self) -> Damaged:
        """Return the input; it is always the same."""
        return self.module.damage(Random(f"{self.seed} {self.number}"), self.folder)


@dataclass(frozen=True)
class Attempt:
    """The result of one way."""

    damage: str
    way: str
    answer: str  # result, or name of the error
    foreign: str = ""  # traceback of an error that is not ours
    seconds: float = 0.0
    memory: float = 0.0  # peak in MB above that before


def attempt(job: Job) -> list[Attempt]:
    _warm_up(job.kind, job.folder)
    return read(job)


def read(job: Job) -> list[Attempt]:
    damaged = job.make()
    path = job.folder / damaged.name
    path.write_bytes(damaged.content)
    try:
        ways = job.module.ways(job.folder, path)
        return [_try(damaged.damage, name, way) for name, way in ways.items() if job.way in (None, name)]
    finally:
        path.unlink(missing_ok=True)


def _try(damage: str, name: str, way: Way) -> Attempt:
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before, began, foreign = _memory("VmRSS"), time.perf_counter(), ""
    try:
        answer = way.run() or READ
    except RequestError as error:
        answer = f"refused: {error.code}"
    except CrossmodalError as error:
        answer = type(error).__name__
        if not str(error).strip():
            foreign = f"{answer} without a message"
    except BaseException as error:
        answer, foreign = f"foreign: {type(error).__name__}", traceback.format_exc()
    return Attempt(damage, name, answer, foreign, time.perf_counter() - began, _memory("VmHWM") - before)


@cache
def _warm_up(kind: str, folder: Path) -> None:
    """Read undamaged files once per process, so that everything is imported."""
    module = importlib.import_module(f"tests.faults.fuzz_{kind}")
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST if most == resource.RLIM_INFINITY else min(_MOST, most), most))
    for path in module.good(folder):
        for name, way in module.ways(folder, path).items():
            _try("none", name, way)


def _memory(name: str) -> float:
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found, f"/proc has no {name}"
    return int(found[1]) / 1024
