"""The gain that other habits of evaluation report for the same teaching, beside that of this library.

``python -m tests.benchmarks.habits --out DIR --jobs 2 --config ravdess_action_units --data.root DIR ...`` runs `fit` on
each fold with each seed: as this library evaluates, with a control that is trained only as long as fine-tuning, and
both again with the protocol ``random``. It writes ``habits.md``. A rerun skips finished runs. Unknown arguments are
passed to ``fit``.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch

from crossmodal.evaluation.gain import measure_gain
from crossmodal.evaluation.metrics import pool, uar
from crossmodal.evaluation.predictions import Predictions
from crossmodal.evaluation.report import with_interval
from crossmodal.pipeline import Run
from crossmodal.pipeline.settings import merge, parse_settings, stage_config

LEAKY = ("--data.protocol", "random", "--data.allow_speaker_leakage", "true")
KINDS = {"matched": (), "short": (), "random": LEAKY, "random_short": LEAKY}
ROWS = (  # habit, kind of the student, kind and stage of the control, split, whether the best seed is reported
    ("none: this library", "matched", "matched", "control", "test", False),
    ("control trained only as long as fine-tuning", "matched", "short", "supervised", "test", False),
    ("epoch selected on the test actors", "matched", "matched", "control", "val", False),
    ("best of the seeds, control averaged", "matched", "matched", "control", "test", True),
    ("same actors in training and test", "random", "random", "control", "test", False),
    ("all of them", "random", "random_short", "supervised", "val", True),
)


def train(kind: str, fold: int, seed: int, out: Path, words: Sequence[str]) -> Path:
    """Train the models of one kind in a separate process; return the folder of the run."""
    torch.set_num_threads(1)
    name = f"{kind}_fold{fold}_seed{seed}"
    folder = out / "runs" / name
    if (folder / "summary.json").exists():
        return folder
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  (the tables of all runs)
    own = ["--runs", str(out / "runs"), "--name", name, "--data.fold", str(fold), "--seed_everything", str(seed)]
    settings = parse_settings([*words, *KINDS[kind], *own, "--trainer.enable_progress_bar", "false"])
    if kind.endswith("short"):
        settings = shorten(settings) | {"stages": "supervised"}
    Run(settings, keep_name=True).fit()
    return folder


def shorten(settings: dict) -> dict:
    """Return settings in which ``supervised`` has as few epochs as fine-tuning."""
    epochs = stage_config(settings, "finetune")["trainer"]["max_epochs"]
    return merge(settings, {"transfer": {"trainer": {"max_epochs": epochs}}})


def row(runs: dict[str, list[Path]], seeds: int, habit: tuple) -> str:
    """Return a line of the table; the runs of a kind are by fold, then by seed."""
    name, ours, theirs, stage, split, best = habit
    students = [read(folder, "finetune", split) for folder in runs[ours]]
    controls = [read(folder, stage, split) for folder in runs[theirs]]
    if not best:
        gain = with_interval(measure_gain(students, controls))
        return line(name, pooled(controls), pooled(students), gain)
    folds = [students[start : start + seeds] for start in range(0, len(students), seeds)]
    chosen = pooled([max(fold, key=lambda one: pooled([one])) for fold in folds])
    return line(name, pooled(controls), chosen, f"{100 * (chosen - pooled(controls)):+.1f}")


def read(folder: Path, stage: str, split: str) -> Predictions:
    return Predictions.read_csv(folder / stage / "predictions.csv").of(split)


def pooled(parts: Sequence[Predictions]) -> float:
    return float(uar(pool(parts).confusion()))


def line(habit: str, control: float, student: float, gain: str) -> str:
    return f"| {habit} | {control:.3f} | {student:.3f} | {gain} |"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.habits", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/habits"))
    parser.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of parallel runs")
    args, words = parser.parse_known_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    places = list(product(args.folds, args.seeds))
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as processes:
        running = {kind: [processes.submit(train, kind, *place, args.out, words) for place in places] for kind in KINDS}
        runs = {kind: [one.result() for one in those] for kind, those in running.items()}
    lines = ["| habit | UAR of control | UAR of student | gain, points |", "|---|---|---|---|"]
    lines += [row(runs, len(args.seeds), habit) for habit in ROWS]
    (args.out / "habits.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
