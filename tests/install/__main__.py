"""``python -m tests.install [lock newest lowest]``: install the project in fresh environments and run it there."""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
RESOLUTIONS = {
    "lock": ["--constraints", str(ROOT / "requirements" / "lock.txt")],
    "newest": ["--resolution", "highest"],
    # Only versions with a wheel count: what has none is built from source, which few users can do.
    "lowest": ["--resolution", "lowest-direct", "--no-build"],
}
EXTRA = "export"
SMALL_FIT = [
    "--data.protocol=loso24",  # the default protocol needs more actors
    *("--data.root=corpus", "--data.num_video_frames=4", "--data.face_size=64"),
    *("--teacher.model.backbone=test_efficientnet", "--teacher.model.pretrained=false"),
    "--teacher.model.freeze_backbone=false",
    *(f"--{stage}.trainer.max_epochs=1" for stage in ("teacher", "transfer", "finetune")),
    "--trainer.enable_progress_bar=false",
]
VIDEO = "corpus/Video_Speech_Actor_01/Actor_01/01-01-01-01-01-01-01.mp4"
MODEL = "runs/fit/model"
WAV = "corpus/Audio_Speech_Actors_01-24/Actor_01/03-01-01-01-01-01-01.wav"


@dataclass
class Outcome:
    """The steps of one environment with their seconds, the versions in it, and the step that failed."""

    name: str
    python: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: str | None = None


def parse_args(args: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.install", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RESOLUTIONS)}; default: all")
    parser.add_argument("--python", default=sys.executable, help="version or path; default: the running Python")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the environments to DIR and keep them")
    options = parser.parse_args(args)
    if unknown := set(options.names) - RESOLUTIONS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(RESOLUTIONS)}")
    if options.keep and options.keep.exists() and any(options.keep.iterdir()):
        parser.error(f"{options.keep} is not empty")
    options.names = options.names or list(RESOLUTIONS)
    return options


def find_uv() -> str:
    uv = shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv")
    if uv is None:
        sys.exit("uv is not installed; run: python -m pip install -e '.[dev]'")
    return uv


def read_requirements(wheel: Path) -> list[str]:
    (distribution,) = importlib.metadata.distributions(path=[str(wheel)])
    return distribution.requires or []


def direct_dependencies(requirements: Iterable[str], extra: str) -> list[str]:
    """Return the names of the requirements without an extra, or with this one."""
    chosen = (line for line in requirements if "extra ==" not in line or f"extra == '{extra}'" in line)
    return sorted((re.match(r"[\w.-]+", line)[0].replace("_", "-") for line in chosen), key=str.lower)


def smoke_commands(python: str) -> dict[str, list[str]]:
    """Return the commands that run in the empty folder, in this order."""
    decoder = "decord" if platform.machine() in {"x86_64", "AMD64"} else "pyav"  # the marker in pyproject.toml
    read = f"from crossmodal.media import read_video_frames as f; f({VIDEO!r}, [0.5], decoder={decoder!r})"
    crossmodal = [python, "-m", "crossmodal"]
    return {
        "import": [python, "-c", "import timm, torch, torchaudio, torchvision, wandb"],
        "synthesize": [*crossmodal, "data", "synthesize", "corpus", "--actors", "3", "--resolution", "160x90"],
        "decode": [python, "-c", read],
        "fit": [*crossmodal, "fit", *SMALL_FIT],
        "predict": [*crossmodal, "predict", "--model", MODEL, "--backend", "torch", WAV],
        "test": [*crossmodal, "test", "--model", MODEL, "--data.root", "corpus"],
        "export": [*crossmodal, "export", MODEL],
        "predict with ONNX": [*crossmodal, "predict", "--model", MODEL, "--backend", "onnx", WAV],
    }


def run(command: list[str], folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"CROSSMODAL_CACHE": str(folder / "cache"), "WANDB_MODE": "offline"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        print(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}", flush=True)
        done.check_returncode()
    return done.stdout


def try_environment(outcome: Outcome, uv: str, wheel: Path, python: str, folder: Path) -> None:
    """Install the wheel in a fresh environment, and run the steps until one fails."""
    venv, empty = folder / "venv", folder / "empty"
    empty.mkdir(parents=True)
    inside = str(venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    # The requirements stand beside the wheel, because `lowest-direct` applies only to direct ones.
    requirements = ["-r", str(ROOT / "pyproject.toml"), "--extra", EXTRA, str(wheel)]
    install = [uv, "pip", "install", "--python", inside, *RESOLUTIONS[outcome.name], *requirements]
    steps = {"venv": [uv, "venv", "--python", python, str(venv)], "install": install, **smoke_commands(inside)}
    for step, command in steps.items():
        start = time.perf_counter()
        try:
            run(command, empty)
        except subprocess.CalledProcessError:
            outcome.failed = step
            break
        finally:
            outcome.seconds[step] = time.perf_counter() - start
            print(f"{outcome.name}: {step}, {outcome.seconds[step]:.0f} s", flush=True)
        if step == "install":
            outcome.python = run([inside, "--version"], empty).split()[1]
            listing = json.loads(run([uv, "pip", "list", "--python", inside, "--format", "json"], empty))
            outcome.versions = {package["name"]: package["version"] for package in listing}


def build_table(outcomes: Sequence[Outcome], packages: Sequence[str]) -> Table:
    table = Table("", *(outcome.name for outcome in outcomes), box=None)
    table.add_row("Python", *(outcome.python for outcome in outcomes))
    for package in packages:
        table.add_row(package, *(outcome.versions.get(package, "-") for outcome in outcomes))
    for step in dict.fromkeys(step for outcome in outcomes for step in outcome.seconds):
        seconds = [outcome.seconds.get(step) for outcome in outcomes]
        table.add_row(f"{step}, s", *("-" if number is None else f"{number:.0f}" for number in seconds))
    table.add_row("result", *(f"failed: {outcome.failed}" if outcome.failed else "passed" for outcome in outcomes))
    return table


def main(args: Sequence[str] | None = None) -> int:
    """Try each environment and print the table; the exit status is 1 if any failed."""
    options = parse_args(args)
    uv = find_uv()
    with contextlib.ExitStack() as stack:
        folder = (options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        run([uv, "build", "--wheel", "--out-dir", str(folder), str(ROOT)], folder)
        wheel = next(folder.glob("*.whl"))
        outcomes = [Outcome(name) for name in options.names]
        for outcome in outcomes:
            try_environment(outcome, uv, wheel, options.python, folder / outcome.name)
        packages = direct_dependencies(read_requirements(wheel), EXTRA)
    Console(width=max(100, 24 * len(outcomes))).print(build_table(outcomes, packages))
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
