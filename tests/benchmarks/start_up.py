"""The help of a command, compared with importing torch."""

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.measure import Row, compare


def run(folder: Path) -> list[Row]:
    """Measure both as separate processes."""
    with_torch = [sys.executable, "-c", "import torch"]
    ours = [sys.executable, "-m", "crossmodal", "fit", "--help"]
    return [compare("crossmodal fit --help", lambda: _run(with_torch), lambda: _run(ours), at_least=5, runs=5)]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
