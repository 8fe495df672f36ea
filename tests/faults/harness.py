"""Interrupt a command at random times, rerun it until it finishes, and compare its results with another run.

The corpus has three actors with faces, small enough to decode, embed and train on in seconds.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAGES = ("teacher", "supervised", "control", "transfer", "finetune")
PHASES = ("start", "prepare", "embeddings", *STAGES, "report")
STATUS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
BATCHES, FILES = "batches.txt", "files.txt"
RESULTS = ("predictions.csv", "metrics.csv", "model.safetensors")
REPOSITORY = Path(__file__).parents[2]
TIMEOUT = 240.0  # seconds for one start, less than a test has
POLL = 0.02  # seconds; a shorter one takes the processor from the run
SETTINGS = [
    *("--runs=runs", "--data.cache=cache", "--data.protocol=loso24", "--data.batch_size=2"),
    *("--data.num_video_frames=2", "--data.face_size=32"),
    *("--teacher.model.backbone=test_resnet", "--teacher.model.pretrained=false"),
    *("--transfer.model.encoder=dense", "--transfer.model.encoder_kwargs.hidden_size=16"),
    "--transfer.model.augmentation={speed: {}, spec_augment: {}}",
    *("--teacher.trainer.max_epochs=6", "--transfer.trainer.max_epochs=4", "--finetune.trainer.max_epochs=3"),
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
]


@dataclass(frozen=True)
class Stop:
    signal: signal.Signals
    phase: str
    share: float  # of the phase's duration, after which it is sent


@dataclass(frozen=True)
class Outcome:
    signal: signal.Signals
    hit: str | None  # phase that was hit; None if the command had already finished
    again: int  # number of batches that the next start repeated


class Victim:
    """A running `fit` in a folder, started by an optional launcher, with arguments of `subprocess.Popen`."""

    def __init__(self, folder: Path, arguments: list[str], launcher: Sequence[str] = (), **how: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._began = time.time()
        self._arrays = self._count_arrays()
        environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
        environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
        command = [*launcher, sys.executable, "-m", "tests.faults.counted", BATCHES, FILES, "fit", *arguments]
        # Each start has its own file, because children of a killed process may still write.
        self._output = folder / f"output_{len(list(folder.glob('output_*')))}.txt"
        with self._output.open("w") as output:
            how |= {"cwd": folder, "env": environment, "stdout": output, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen(command, **how)

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def phase(self) -> str:
        """The current phase, from the output and files since the start."""
        output = self.output
        over = [stage for stage in STAGES if f"\n{stage}: " in f"\n{output}"]
        if over:
            return PHASES[PHASES.index(over[-1]) + 1]
        run, cache = self.folder / "runs" / "fit", self.folder / "cache"
        if self._is_new(run / "teacher" / "config.yaml"):
            return "teacher"
        if self._is_new(run / "excluded.json") and not list(cache.glob("face_embeddings/*.safetensors")):
            return "embeddings"
        return "prepare" if self._count_arrays() > self._arrays else "start"

    def wait(self) -> int:
        try:
            return self.process.wait(TIMEOUT)
        finally:
            self.process.kill()

    def assert_ends(self, status: int, *words: str) -> None:
        """Wait for the end with a status, with words in the output and without a traceback."""
        assert self.wait() == status, self.output
        assert "Traceback" not in self.output, self.output
        assert all(one in self.output for one in words), self.output

    def wait_for(self, phase: str) -> None:
        while self.is_alive and PHASES.index(self.phase) < PHASES.index(phase):
            time.sleep(POLL)

    def _is_new(self, path: Path) -> bool:
        return path.exists() and path.stat().st_mtime > self._began

    def _count_arrays(self) -> int:
        return len(list((self.folder / "cache").glob("*/*/*.npy")))


class Bench:
    """Runs of one command on a corpus, each in its own folder."""

    def __init__(self, folder: Path, corpus: Path) -> None:
        self.folder = folder
        self._arguments = [f"--data.root={corpus}", *SETTINGS]
        self._durations: dict[str, float] = {}

    def start(self, name: str, *more: str, **how: Any) -> Victim:
        return Victim(self.folder / name, [*self._arguments, *more], **how)

    def finish(self, name: str) -> Victim:
        """Run the command without interruption, and record the duration of each phase."""
        victim = self.start(name)
        began: dict[str, float] = {}
        while victim.is_alive:
            began.setdefault(victim.phase, time.monotonic())
            time.sleep(POLL)
        ends = [*began.values(), time.monotonic()][1:]
        self._durations = {phase: end - since for (phase, since), end in zip(began.items(), ends, strict=True)}
        victim.assert_ends(0)
        return victim

    def survive(self, name: str, stops: Sequence[Stop]) -> list[Outcome]:
        """Interrupt a run with each signal, let it finish, and return the outcomes."""
        outcomes, begun = [], []
        for stop in stops:
            hit = self._stop(name, stop)
            begun.append(len(self._batches(name)))
            outcomes.append((stop.signal, hit))
        self.start(name).assert_ends(0)
        batches = self._batches(name)
        ends = [*begun, len(batches)][1:]
        again = [len({*batches[:end]} & {*batches[end:then]}) for end, then in zip(begun, ends, strict=True)]
        return [Outcome(number, hit, count) for (number, hit), count in zip(outcomes, again, strict=True)]

    def results(self, name: str) -> dict[str, Any]:
        """Return the results of a run by file, without times and flags of reuse."""
        run = self.folder / name / "runs" / "fit"
        files = [run / stage / file for stage in STAGES for file in RESULTS]
        files += [path for folder in ("model", "control_model") for path in sorted((run / folder).iterdir())]
        summary = json.loads((run / "summary.json").read_text())
        for numbers in summary["stages"].values():
            del numbers["seconds"], numbers["reused"]
        return {str(path.relative_to(run)): path.read_bytes() for path in files} | {"summary.json": summary}

    def _stop(self, name: str, stop: Stop) -> str | None:
        """Start the command, send a signal, check the exit status, and return the phase that was hit."""
        victim = self.start(name)
        victim.wait_for(stop.phase)
        time.sleep(stop.share * self._durations.get(stop.phase, 0.0))
        hit = victim.phase
        victim.process.send_signal(stop.signal)
        status = victim.wait()
        # During interpreter shutdown Python's default handlers apply, which gives -15 in place of 143.
        assert status in (0, STATUS[stop.signal], -stop.signal), f"{stop}: status {status}\n{victim.output}"
        assert "Traceback" not in victim.output, f"{stop}\n{victim.output}"
        if status in (143, 130):
            assert victim.output.count("command to resume") == 1, victim.output
        return None if status == 0 else hit

    def _batches(self, name: str) -> list[str]:
        path = self.folder / name / BATCHES
        return path.read_text().splitlines() if path.exists() else []


def draw_stops(rng: random.Random, signals: Sequence[signal.Signals], phases: Sequence[str] = PHASES[1:]) -> list[Stop]:
    """Return a signal for each phase in order, each at a random time."""
    return [Stop(rng.choice(list(signals)), phase, rng.random()) for phase in phases]


def table(outcomes: Iterable[Outcome]) -> str:
    rows: dict[tuple[str, str], list[int]] = {}
    for outcome in outcomes:
        rows.setdefault((outcome.hit or "(finished)", outcome.signal.name), []).append(outcome.again)
    order = [*PHASES, "(finished)"]
    lines = ["| phase | signal | times | most repeated batches |", "|---|---|---|---|"]
    for (phase, name), again in sorted(rows.items(), key=lambda row: (order.index(row[0][0]), row[0][1])):
        lines.append(f"| {phase} | {name} | {len(again)} | {max(again)} |")
    return "\n".join(lines)
