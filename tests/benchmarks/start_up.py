"""The help of a command, against what it would take if it imported torch."""

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.measure import Row, compare


def run(folder: Path) -> list[Row]:
    """Both as processes of their own, from start to end."""
    with_torch = [sys.executable, "-c", "import torch"]
    ours = [sys.executable, "-m", "crossmodal", "fit", "--help"]
    return [compare("crossmodal fit --help", lambda: _run(with_torch), lambda: _run(ours), at_least=5, runs=5)]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
