"""A command that is stopped at moments drawn from a seed, started again until it ends, and compared with another.

All of it is over three actors and their faces, small enough to be decoded, embedded and trained on in seconds.
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

STAGES = ("teacher", "control", "transfer", "finetune")
PHASES = ("start", "prepare", "embeddings", *STAGES, "report")
STATUS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
BATCHES, FILES = "batches.txt", "files.txt"
RESULTS = ("predictions.csv", "metrics.csv", "model.safetensors")
REPOSITORY = Path(__file__).parents[2]
TIMEOUT = 240.0  # seconds for one start, less than a test has
POLL = 0.02  # seconds; a shorter one takes the processor from the run
SETTINGS = [
    "--runs=runs",
    "--data.cache=cache",
    "--data.protocol=loso24",
    "--data.batch_size=2",
    "--data.num_video_frames=2",
    "--data.face_size=32",
    "--teacher.model.backbone=test_resnet",
    "--teacher.model.pretrained=false",
    "--transfer.model.encoder=dense",
    "--transfer.model.encoder_kwargs.hidden_size=16",
    "--transfer.model.augmentation={speed: {}, mixup: {}}",
    "--transfer.model.ema_decay=0.9",
    "--teacher.trainer.max_epochs=6",
    "--transfer.trainer.max_epochs=4",
    "--finetune.trainer.max_epochs=3",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]


@dataclass(frozen=True)
class Stop:
    """One signal.

    Args:
        signal: Which.
        phase: Where it is meant to hit.
        share: Of the phase's duration, after which it is sent.
    """

    signal: signal.Signals
    phase: str
    share: float


@dataclass(frozen=True)
class Outcome:
    """What a signal came to.

    Args:
        signal: Which.
        hit: The phase in which it did; None where the command had ended by then.
        again: Batches that the next start did once more.
    """

    signal: signal.Signals
    hit: str | None
    again: int


class Victim:
    """A running command.

    Args:
        folder: Where it runs.
        arguments: Of `fit`.
        launcher: What starts Python.
        how: Further arguments of `subprocess.Popen`.
    """

    def __init__(self, folder: Path, arguments: list[str], launcher: Sequence[str] = (), **how: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._began = time.time()
        self._arrays = self._count_arrays()
        environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
        environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
        command = [*launcher, sys.executable, "-m", "tests.faults.counted", BATCHES, FILES, "fit", *arguments]
        # Of each start a file of its own: children of one that was killed may have a last word.
        self._output = folder / f"output_{len(list(folder.glob('output_*')))}.txt"
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, **how
            )

    @property
    def output(self) -> str:
        """All that it has said."""
        return self._output.read_text()

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    @property
    def phase(self) -> str:
        """Where it is, by what it has said and written since it was started."""
        output = self.output
        over = [stage for stage in STAGES if f"\n{stage}: " in f"\n{output}"]
        if over:
            return PHASES[PHASES.index(over[-1]) + 1]
        run, cache = self.folder / "runs" / "fit", self.folder / "cache"
        if self._is_new(run / "teacher" / "config.yaml"):
            return "teacher"
        if self._is_new(run / "set_aside.json") and not list(cache.glob("face_embeddings/*.safetensors")):
            return "embeddings"
        return "prepare" if self._count_arrays() > self._arrays else "start"

    def wait(self) -> int:
        """Wait for its end; returns its status."""
        try:
            return self.process.wait(TIMEOUT)
        finally:
            self.process.kill()

    def wait_for(self, phase: str) -> None:
        """Wait until it has come so far, or has ended."""
        while self.is_alive and PHASES.index(self.phase) < PHASES.index(phase):
            time.sleep(POLL)

    def _is_new(self, path: Path) -> bool:
        return path.exists() and path.stat().st_mtime > self._began

    def _count_arrays(self) -> int:
        return len(list((self.folder / "cache").glob("*/*/*.npy")))


class Bench:
    """Runs of one command, each in a folder of its own.

    Args:
        folder: Of all of them.
        corpus: RAVDESS's tree.
        more: Further arguments of the command.
    """

    def __init__(self, folder: Path, corpus: Path, more: Sequence[str] = ()) -> None:
        self.folder = folder
        self._arguments = [f"--data.root={corpus}", *SETTINGS, *more]
        self._durations: dict[str, float] = {}

    def start(self, name: str, *more: str, **how: Any) -> Victim:
        """Start the command, with further arguments."""
        return Victim(self.folder / name, [*self._arguments, *more], **how)

    def finish(self, name: str) -> Victim:
        """Run it to its end, undisturbed, and remember how long each phase lasts."""
        victim = self.start(name)
        began: dict[str, float] = {}
        while victim.is_alive:
            began.setdefault(victim.phase, time.monotonic())
            time.sleep(POLL)
        ends = [*began.values(), time.monotonic()][1:]
        self._durations = {phase: end - since for (phase, since), end in zip(began.items(), ends, strict=True)}
        assert victim.wait() == 0, victim.output
        assert "Traceback" not in victim.output, victim.output
        return victim

    def survive(self, name: str, stops: Sequence[Stop]) -> list[Outcome]:
        """Stop a run here and there, and let it end; returns what each stop came to."""
        outcomes, begun = [], []
        for stop in stops:
            hit = self._stop(name, stop)
            begun.append(len(self._batches(name)))
            outcomes.append((stop.signal, hit))
        victim = self.start(name)
        assert victim.wait() == 0, victim.output
        assert "Traceback" not in victim.output, victim.output
        batches = self._batches(name)
        ends = [*begun, len(batches)][1:]
        again = [len({*batches[:end]} & {*batches[end:then]}) for end, then in zip(begun, ends, strict=True)]
        return [Outcome(number, hit, count) for (number, hit), count in zip(outcomes, again, strict=True)]

    def results(self, name: str) -> dict[str, Any]:
        """All that a run leaves for people, by file, but for how long it took and what of it was reused."""
        run = self.folder / name / "runs" / "fit"
        files = [run / stage / file for stage in STAGES for file in RESULTS]
        files += [path for folder in ("model", "control_model") for path in sorted((run / folder).iterdir())]
        summary = json.loads((run / "summary.json").read_text())
        for numbers in summary["stages"].values():
            del numbers["seconds"], numbers["reused"]
        return {str(path.relative_to(run)): path.read_bytes() for path in files} | {"summary.json": summary}

    def _stop(self, name: str, stop: Stop) -> str | None:
        """Start the command, stop it, and see that it ends as it should; returns the phase that was hit."""
        victim = self.start(name)
        victim.wait_for(stop.phase)
        time.sleep(stop.share * self._durations.get(stop.phase, 0.0))
        hit = victim.phase
        victim.process.send_signal(stop.signal)
        status = victim.wait()
        # Past its last line Python handles signals as it does: a shell tells -15 from 143 no more than we need to.
        assert status in (0, STATUS[stop.signal], -stop.signal), f"{stop}: status {status}\n{victim.output}"
        assert "Traceback" not in victim.output, f"{stop}\n{victim.output}"
        if status in (143, 130):
            assert victim.output.count("command to resume") == 1, victim.output
        return None if status == 0 else hit

    def _batches(self, name: str) -> list[str]:
        """Every batch that was begun, in all starts together."""
        path = self.folder / name / BATCHES
        return path.read_text().splitlines() if path.exists() else []


def draw_stops(rng: random.Random, signals: Sequence[signal.Signals], phases: Sequence[str] = PHASES[1:]) -> list[Stop]:
    """A signal in each phase, in their order, each at a moment of its own."""
    return [Stop(rng.choice(list(signals)), phase, rng.random()) for phase in phases]


def table(outcomes: Iterable[Outcome]) -> str:
    """Where the signals hit, and how many batches were done again, as Markdown."""
    rows: dict[tuple[str, str], list[int]] = {}
    for outcome in outcomes:
        rows.setdefault((outcome.hit or "(had ended)", outcome.signal.name), []).append(outcome.again)
    order = [*PHASES, "(had ended)"]
    lines = ["| phase | signal | times | most batches done again |", "|---|---|---|---|"]
    for (phase, name), again in sorted(rows.items(), key=lambda row: (order.index(row[0][0]), row[0][1])):
        lines.append(f"| {phase} | {name} | {len(again)} | {max(again)} |")
    return "\n".join(lines)
