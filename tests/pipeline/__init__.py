import csv
import json

from crossmodal.pipeline import Run
from crossmodal.pipeline.settings import merge, parse_settings


def fit(args):
    """Run a command line of `crossmodal fit`; return the content of ``summary.json``."""
    return Run(parse_settings(args)).fit().to_dict()


def read_rows(path):
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reused(summary):
    """Return the stages that a run reused."""
    return [stage for stage, numbers in summary["stages"].items() if numbers["reused"]]


def sections_of(words):
    """Return the sections of a command line, ``--data.fold=1``, as keyword arguments of `crossmodal.fit`."""
    sections = {}
    for word in words:
        key, _, text = word.removeprefix("--").partition("=")
        value = json.loads(text) if text[:1] in "0123456789tfn" else text
        for part in reversed(key.split(".")):
            value = {part: value}
        sections = merge(sections, value)
    return {name: value for name, value in sections.items() if isinstance(value, dict)}


def tiny_command(folder, *more):
    """Return a command line of a short run with a small student, and its runs and cache in a folder."""
    return [
        f"--runs={folder / 'runs'}",
        f"--data.cache={folder / 'cache'}",
        "--data.protocol=loso24",
        "--data.batch_size=8",
        "--transfer.model.encoder=dense",
        "--transfer.model.encoder_kwargs.hidden_size=16",
        "--trainer.enable_progress_bar=false",
        *(f"--{stage}.trainer.max_epochs=1" for stage in ("teacher", "transfer", "finetune")),
        *more,
    ]
