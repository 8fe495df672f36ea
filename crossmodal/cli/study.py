"""`crossmodal study`: preflight and run."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from crossmodal.naming import lookup
from crossmodal.pipeline.run import silence_lightning
from crossmodal.shipped_configs import find_config
from crossmodal.studies.grid import Cell, plan
from crossmodal.studies.preflight.run import preflight
from crossmodal.studies.run_grid import LOG, run_cells
from crossmodal.studies.study_file import read_study


def preflight_command(args: Sequence[str]) -> int:
    """Run `crossmodal study preflight`."""
    silence_lightning()
    preflight(args)
    return 0


def run_command(args: Sequence[str]) -> int:
    """Run `crossmodal study run`."""
    out, cells, options = plan_runs(args)
    if options.print_commands:
        _print_commands(args, cells)
        return 0
    silence_lightning()
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes: idle OpenMP threads would spin on the cores of the others
    failed = run_cells(cells, options.jobs)
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}\n  log: {out / 'runs' / name / LOG}", file=sys.stderr)
    advice = "; rerun the same command to retry the others" if failed else ""
    print(f"{len(cells) - len(failed)} of {len(cells)} runs are finished{advice}.")
    print(f"To print the table: python -m crossmodal study report {out}")
    return 1 if failed else 0


def plan_runs(args: Sequence[str]) -> tuple[Path, list[Cell], argparse.Namespace]:
    """Return the folder, the requested runs and the options of a command line of `crossmodal study run`."""
    parser = argparse.ArgumentParser("crossmodal study run", allow_abbrev=False, add_help=False)
    parser.add_argument("file", type=lambda name: find_config(name, "studies"), metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    for name, parse in (("folds", _numbers), ("seeds", _numbers), ("protocols", _names), ("only", _names)):
        parser.add_argument(f"--{name}", type=parse, metavar="LIST")
    parser.add_argument("--methods", "--applications", dest="names", type=_names, metavar="LIST")
    parser.add_argument("--print-commands", action="store_true")
    if args and args[0].startswith("-"):  # the value of a key of fit would be parsed as FILE
        parser.error("FILE must be the first argument")
    options, overrides = parser.parse_known_args(list(args))
    study = read_study(options.file).narrow(options.names, options.protocols, options.folds, options.seeds)
    out = options.out or Path("studies") / options.file.stem
    cells = {cell.folder.name: cell for cell in plan(study, out, overrides)}
    return out, [lookup("run of this study", cells, name) for name in options.only or cells], options


def _print_commands(args: Sequence[str], cells: Sequence[Cell]) -> None:
    """Print a command for each unfinished run that runs only it, for a scheduler."""
    common = [word for word in args if word != "--print-commands"]
    for cell in cells:
        if not cell.is_finished:
            print(shlex.join(["python", "-m", "crossmodal", "study", "run", *common, "--only", cell.folder.name]))


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected comma-separated numbers such as 0,1,2, not {text!r}") from None
