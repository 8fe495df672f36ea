"""`study run`: run the unfinished runs of a grid in several processes."""

import argparse
import gc
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

import torch
from rich.progress import Progress

from crossmodal.datamodules import AudioDataModule, PairedDataModule
from crossmodal.errors import ConfigError, CrossmodalError, ProtocolError
from crossmodal.naming import look_up
from crossmodal.pipeline import fit
from crossmodal.pipeline.run import silence_lightning
from crossmodal.pipeline.stage import code_version
from crossmodal.progress import progress_bar
from crossmodal.shipped_configs import find_config
from crossmodal.storage import content_key, write_json
from crossmodal.studies.grid import CELL, Cell, plan
from crossmodal.studies.pool import Job, run_jobs
from crossmodal.studies.study_file import Study, read_study

LOG = "log.txt"
_DAY = 24 * 3600.0
Item = TypeVar("Item")


def run_command(args: Sequence[str]) -> int:
    """Run `crossmodal study run`."""
    options, overrides = _parse(args)
    silence_lightning()
    study = _narrow(read_study(options.file), options)
    out = options.out or Path("studies") / options.file.stem
    cells = _only(plan(study, out, overrides), options.only)
    if options.print_commands:
        _print_commands(args, cells)
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes: idle OpenMP threads would spin on the cores of the others
    failed = run_cells(cells, options.jobs)
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}\n  log: {out / 'runs' / name / LOG}", file=sys.stderr)
    advice = "; rerun the same command to retry the others" if failed else ""
    print(f"{len(cells) - len(failed)} of {len(cells)} runs are finished{advice}.")
    print(f"To print the table: python -m crossmodal study report {out}")
    return 1 if failed else 0


def run_cells(cells: Sequence[Cell], jobs: int = 1) -> dict[str, str]:
    """Run the cells that are not finished.

    Args:
        cells: Cells of the grid, see `crossmodal.studies.grid.plan`.
        jobs: Number of processes, each with one thread.

    Returns:
        The reason of each failure, by the name of the run.

    Raises:
        ConfigError: If the corpus cannot fill a fold.
        DataError: If the recordings are missing.
    """
    finished = [cell for cell in cells if cell.is_finished]
    todo = [cell for cell in cells if not cell.is_finished]
    prepare_corpora(todo)
    made = {key for cell in finished for key in cell.makes}
    work = [Job(cell.folder.name, cell, cell.makes) for cell in todo]
    failed: dict[str, str] = {}
    # A run takes minutes, so the remaining time is estimated from the runs of the last day.
    with progress_bar(memory=_DAY) as progress, closing(run_jobs(run_cell, work, jobs, made)) as results:
        bar = progress.add_task("Runs", total=len(cells), completed=len(finished))
        for job, reason in results:
            progress.advance(bar)
            if reason is not None:
                failed[job.name] = reason
            _print_progress(progress, job.name, reason)
    return failed


def run_cell(cell: Cell) -> str | None:
    """Execute one run in a process of the pool; its output goes to ``log.txt``.

    Returns:
        The reason of the failure, or None.
    """
    silence_lightning()
    gc.collect()  # free the run before: trainer and task are a reference cycle that holds cached features
    torch.set_num_threads(1)  # in case OMP_NUM_THREADS was set too late
    cell.folder.mkdir(parents=True, exist_ok=True)
    (cell.folder / CELL).unlink(missing_ok=True)  # from other settings
    with (cell.folder / LOG).open("w", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            fit(cell.args)
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            return str(error) if isinstance(error, CrossmodalError) else f"{type(error).__name__}: {error}"
    for folder in list(cell.folder.rglob("checkpoints")):  # only for resuming; the weights are in model.safetensors
        rmtree(folder)
    write_json(cell.folder / CELL, cell.about | {"code": code_version()})
    return None


def prepare_corpora(cells: Sequence[Cell]) -> None:
    """Decode the corpus once before the runs, and check that it can fill every fold.

    Raises:
        ConfigError: If a fold does not exist or the corpus cannot fill it.
        DataError: If the recordings are missing.
    """
    # The control alone needs no faces, and an audio-only corpus has none.
    corpora = [(cell.stages == ["control"], cell.settings["data"]) for cell in cells]
    for is_audio_only, data in _distinct(corpora, lambda one: content_key(corpus=one)):
        corpus = (AudioDataModule if is_audio_only else PairedDataModule)(**data)
        corpus.prepare_data()
        try:
            corpus.setup()
        except ProtocolError as error:
            raise ConfigError(f"Fold {data['fold']} of the study: {error} Choose other folds with --folds.") from error


def _print_progress(progress: Progress, name: str, reason: str | None) -> None:
    """Print the progress to a file or pipe, which cannot show a progress bar."""
    if progress.console.is_terminal:
        return
    task = progress.tasks[0]
    left = "" if task.time_remaining is None else f", {timedelta(seconds=task.time_remaining)} left"
    status = "done" if reason is None else f"failed: {reason}"
    print(f"[{task.completed:.0f}/{task.total:.0f}{left}] {name}: {status}", file=sys.stderr, flush=True)


def _distinct(items: Sequence[Item], key: Callable[[Item], str]) -> list[Item]:
    return list({key(item): item for item in items}.values())


def _narrow(study: Study, options: argparse.Namespace) -> Study:
    """Return the study restricted to the options of the command line."""
    kind = study.key.removesuffix("s")
    chosen = {name: look_up(f"{kind} of {study.file}", study.compared, name) for name in options.names or ()}
    choices = {study.key: chosen, "protocols": options.protocols, "folds": options.folds, "seeds": options.seeds}
    return replace(study, **{key: value for key, value in choices.items() if value})


def _only(cells: Sequence[Cell], names: Sequence[str] | None) -> list[Cell]:
    """Return the runs with these names, or all runs if no names are given."""
    by_name = {cell.folder.name: cell for cell in cells}
    return [look_up("run of this study", by_name, name) for name in names] if names else list(cells)


def _print_commands(args: Sequence[str], cells: Sequence[Cell]) -> None:
    """Print a command for each unfinished run that runs only it, for a scheduler."""
    common = [word for word in args if word != "--print-commands"]
    for cell in cells:
        if not cell.is_finished:
            print(shlex.join(["python", "-m", "crossmodal", "study", "run", *common, "--only", cell.folder.name]))


def _parse(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options of the study and the arguments for `fit`."""
    parser = argparse.ArgumentParser("crossmodal study run", allow_abbrev=False, add_help=False)
    parser.add_argument("file", type=_find_study, metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    parser.add_argument("--folds", type=_numbers, metavar="LIST")
    parser.add_argument("--seeds", type=_numbers, metavar="LIST")
    parser.add_argument("--protocols", type=_names, metavar="LIST")
    parser.add_argument("--methods", "--applications", dest="names", type=_names, metavar="LIST")
    parser.add_argument("--only", type=_names, metavar="LIST")
    parser.add_argument("--print-commands", action="store_true")
    if args and args[0].startswith("-"):  # the value of an argument for fit would be parsed as FILE
        parser.error("FILE must be the first argument")
    return parser.parse_known_args(list(args))


def _find_study(name: str) -> Path:
    return find_config(name, "studies")


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected comma-separated numbers such as 0,1,2, not {text!r}") from None
