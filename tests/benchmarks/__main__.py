"""``python -m tests.benchmarks [NAME ...]``: run benchmarks and print a table. Timings are too noisy for tests."""

import importlib
import logging
import sys
import tempfile
import warnings
from pathlib import Path

from rich.console import Console
from rich.table import Table

BENCHMARKS = ("front_end", "training_epoch", "loading", "preparing", "stored_teacher")
BENCHMARKS += ("teaching_cost", "pretrained_epoch", "memory", "server_load")


def main(names: list[str]) -> int:
    """Run benchmarks; the exit status is 1 if a goal was missed."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    table = Table("benchmark", "baseline", "ours", "ratio", "goal", "reached", box=None)
    reached = True
    for name in names or BENCHMARKS:
        with tempfile.TemporaryDirectory() as folder:
            for row in importlib.import_module(f"tests.benchmarks.{name}").run(Path(folder)):
                reached &= row.reached
                cells = (row.what, row.baseline, row.ours, f"{row.ratio:.2f}", row.goal)
                table.add_row(*cells, "yes" if row.reached else "no")
    Console(width=140).print(table)
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
