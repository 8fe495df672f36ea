"""Accuracy of each voice model on unseen actors, compared with reference models.

``python -m tests.benchmarks.voice_models --root DIR`` trains each model on each fold with each seed, with
``crossmodal fit --stages control``, and writes ``table.md`` and ``table.csv``. A model is the names of its configs,
such as ``lmfb+dense`` or ``whisper``. A rerun skips finished runs. Other arguments are passed to ``fit``. Select a
model by the validation column only.
"""

import argparse
import csv
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossmodal.datamodules import AudioDataModule
from crossmodal.evaluation.gain import measure_gain
from crossmodal.evaluation.metrics import pool, uar, uar_interval, war
from crossmodal.evaluation.predictions import Predictions
from crossmodal.evaluation.report import with_interval
from crossmodal.inference.onnx_graph import to_int8, to_onnx
from crossmodal.inference.onnx_model import OnnxModel
from crossmodal.labels_for_people import interval_text
from crossmodal.models import AudioClassifier, PretrainedFrontEnd
from crossmodal.models.serialization import load_model
from crossmodal.progress import progress_bar
from crossmodal.storage import read_json
from tests.benchmarks.measure import SAMPLES, seconds, threads
from tests.benchmarks.references import REFERENCES, refer
from tests.pipeline import fit

ENCODERS = ("dense", "cnn", "tdnn", "lstm", "crnn", "transformer")
FROM_SCRATCH = [f"{front_end}+{encoder}" for front_end, encoder in product(("mfcc", "lmfb"), ENCODERS)]
COLUMNS = (
    "model", "runs", "UAR val", "UAR test", "SD", "95 % over actors", "WAR test", "SD of WAR",
    "parameters", "MB", "training s", "ms torch", "ms ONNX", "ms int8",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    model: str  # its configs, joined by "+"
    fold: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.model.replace('+', '_')}_fold{self.fold}_seed{self.seed}"


def train(job: Job, root: str, runs: str, num_threads: int, overrides: Sequence[str]) -> Job:
    """Train one voice model without a teacher, in a separate process."""
    torch.set_num_threads(num_threads)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  (the tables of 144 runs)
    fit(
        [
            *(word for config in job.model.split("+") for word in ("--config", config)),
            *("--stages", "control", "--data.root", root, "--data.fold", str(job.fold), "--runs", runs),
            *("--seed_everything", str(job.seed), "--name", job.name, "--trainer.enable_progress_bar", "false"),
            *overrides,
        ]
    )
    gc.collect()  # trainer and task are a reference cycle that holds cached features
    return job


def train_all(jobs: Sequence[Job], args: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Run the unfinished jobs in parallel; failures are printed and the others continue."""
    runs = str(args.out / "runs")
    todo = [job for job in jobs if not (args.out / "runs" / job.name / "summary.json").exists()]
    num_threads = max((os.cpu_count() or 1) // args.jobs, 1)
    # Idle OpenMP threads would spin on the cores of the other processes.
    os.environ["OMP_NUM_THREADS"] = str(num_threads)
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool, progress_bar() as progress:
        task = progress.add_task("Training voice models", total=len(jobs), completed=len(jobs) - len(todo))
        running = {pool.submit(train, job, str(args.root), runs, num_threads, overrides): job for job in todo}
        for done in as_completed(running):
            if error := done.exception():
                print(f"{running[done].name}: {error}", file=sys.stderr)
            progress.advance(task)


@dataclass(frozen=True)
class Trial:
    """Predictions of one model or reference for one fold and seed."""

    predictions: Predictions
    seconds: float

    def of(self, metric: Callable[[Any], Any], split: str) -> float:
        return float(metric(self.predictions.of(split).confusion()))


def row(name: str, trials: Sequence[Trial], parameters: str = "", size: str = "", *times: str) -> dict[str, str]:
    tests = [trial.of(uar, "test") for trial in trials]
    wars = [trial.of(war, "test") for trial in trials]
    interval = uar_interval(pool([trial.predictions.of("test") for trial in trials]))
    cells = (
        name, str(len(trials)), f"{statistics.mean(trial.of(uar, 'val') for trial in trials):.3f}",
        f"{statistics.mean(tests):.3f}", f"{np.std(tests, ddof=len(tests) > 1):.3f}", interval_text(interval),
        f"{statistics.mean(wars):.3f}", f"{np.std(wars, ddof=len(wars) > 1):.3f}", parameters, size,
        f"{statistics.median(trial.seconds for trial in trials):.0f}", *(times or ("", "", "")),
    )  # fmt: skip
    return dict(zip(COLUMNS, cells, strict=True))


def model_trials(jobs: Sequence[Job], runs: Path) -> dict[str, dict[Path, Trial]]:
    trials: dict[str, dict[Path, Trial]] = {}
    for job in jobs:
        folder = runs / job.name / "control"
        if result := read_json(folder / "result.json"):
            predictions = Predictions.read_csv(folder / "predictions.csv")
            first = read_json(folder.with_name("supervised") / "result.json")  # the control starts from its weights
            trials.setdefault(job.model, {})[folder] = Trial(predictions, first["seconds"] + result["seconds"])
    return trials


def model_row(name: str, trials: dict[Path, Trial]) -> dict[str, str]:
    trained, _ = load_model(AudioClassifier, next(iter(trials)) / "model.safetensors")
    sizes = [parameter.numel() for parameter in trained.parameters()]
    if isinstance(trained.front_end, PretrainedFrontEnd):  # also its frozen layers
        sizes += [tensor.numel() for tensor in trained.front_end.load().state_dict().values()]
    content = to_onnx(trained, [str(number) for number in range(trained.config["num_classes"])], 1.0)
    small = to_int8(content)
    waveform, length = 0.1 * torch.randn(1, 1, SAMPLES), np.array([SAMPLES])
    runs = [lambda: trained(waveform)]
    for exported in (OnnxModel(content), OnnxModel(small)):
        runs.append(lambda exported=exported: exported.probabilities(waveform[0].numpy(), length))
    size = f"{len(content) / 1e6:.1f} ({len(small) / 1e6:.1f} int8)"
    times = [f"{_milliseconds(run):.1f}" for run in runs]
    return row(name, list(trials.values()), f"{sum(sizes):,}", size, *times)


def reference_trials(name: str, args: argparse.Namespace) -> list[Trial]:
    """Return the predictions of a reference on the same folds; it is deterministic."""
    trials = []
    for fold in args.folds:
        datamodule = AudioDataModule(root=str(args.root), fold=fold)
        datamodule.setup()
        start = time.perf_counter()
        predictions = refer(name, datamodule, args.out / "references")
        trials.append(Trial(predictions, time.perf_counter() - start))
    return trials


def verdict(models: dict[str, dict[Path, Trial]], references: dict[str, list[Trial]]) -> str:
    """Compare the model with the best validation UAR with each reference, paired by actor."""
    best = max(models, key=lambda name: statistics.mean(trial.of(uar, "val") for trial in models[name].values()))
    trials = list(models[best].values())
    lines = [f"Best on validation: {best}. On test, in points of UAR, with the 95 % interval over actors:"]
    for name, theirs in references.items():
        repeated = theirs * (len(trials) // len(theirs))  # once for each seed
        sides = [[trial.predictions.of("test") for trial in side] for side in (trials, repeated)]
        gain = measure_gain(*sides)
        lines.append(f"{with_interval(gain)} over {name}")
    return "\n".join(lines)


def write(rows: Sequence[dict[str, str]], folder: Path) -> str:
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    lines = [COLUMNS, ["---"] * len(COLUMNS), *(list(one.values()) for one in rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    (folder / "table.md").write_text(f"{text}\n", encoding="utf-8")
    return text


@torch.inference_mode()
def _milliseconds(run: Callable[[], Any]) -> float:
    """Return the median time on one thread."""
    with threads(1):
        return 1000 * statistics.median(seconds(run) for _ in range(20))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.voice_models", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of RAVDESS's speech wavs")
    parser.add_argument("--out", type=Path, default=Path("runs/voice_models"))
    parser.add_argument("--models", nargs="+", default=FROM_SCRATCH, help="default: those of the thesis and others")
    parser.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of parallel runs")
    parser.add_argument("--table_only", action="store_true", help="only write the table of finished runs")
    args, overrides = parser.parse_known_args(argv)  # unknown arguments are for `crossmodal fit`
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = [Job(model, fold, seed) for seed, fold, model in product(args.seeds, args.folds, args.models)]
    if not args.table_only:
        train_all(jobs, args, overrides)
    models = model_trials(jobs, args.out / "runs")
    references = {name: reference_trials(name, args) for name in REFERENCES}
    rows = [model_row(name, trials) for name, trials in models.items()]
    rows += [row(name, trials) for name, trials in references.items()]
    print(write(rows, args.out), verdict(models, references), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
