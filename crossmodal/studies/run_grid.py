"""Run the unfinished runs of a grid in several processes."""

import gc
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from shutil import rmtree

import torch
from rich.progress import Progress

from crossmodal.datamodules import AudioDataModule, PairedDataModule
from crossmodal.errors import ConfigError, CrossmodalError, ProtocolError
from crossmodal.pipeline.loggers import silence_lightning
from crossmodal.pipeline.run import Run
from crossmodal.pipeline.run_folder import LOG
from crossmodal.pipeline.settings import parse_settings
from crossmodal.pipeline.stage_key import code_version
from crossmodal.process_pool import Failure, run_in_processes
from crossmodal.progress import progress_bar
from crossmodal.storage import content_key, write_json
from crossmodal.studies.grid import CELL, Cell

_DAY = 24 * 3600.0


def run_cells(cells: Sequence[Cell], jobs: int = 1) -> dict[str, str]:
    """Run the unfinished cells in `jobs` processes, each with one thread; return the reason of each failure by run."""
    silence_lightning()
    finished = [cell for cell in cells if cell.is_finished]
    todo = [cell for cell in cells if not cell.is_finished]
    prepare_corpora(todo)
    failed: dict[str, str] = {}
    outcomes = run_in_processes(run_cell, todo, jobs)
    # A run takes minutes, so the remaining time is estimated from the runs of the last day.
    with _single_threaded(), progress_bar(memory=_DAY) as progress, closing(outcomes):
        bar = progress.add_task("Runs", total=len(cells), completed=len(finished))
        for cell, outcome in outcomes:
            reason = outcome.reason if isinstance(outcome, Failure) else outcome
            if reason is not None:
                failed[cell.folder.name] = reason
            progress.advance(bar)
            _print_progress(progress, cell.folder.name, reason)
    return failed


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Give new processes one OpenMP thread: idle threads would spin on the cores of the others."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def run_cell(cell: Cell) -> str | None:
    """Execute one run, with its output in ``log.txt``, and return the reason of a failure."""
    gc.collect()  # free the run before: trainer and task are a reference cycle that holds cached features
    torch.set_num_threads(1)  # in case OMP_NUM_THREADS was set too late
    start = time.perf_counter()
    cell.folder.mkdir(parents=True, exist_ok=True)
    (cell.folder / CELL).unlink(missing_ok=True)  # from other settings
    opened = (cell.folder / LOG).open("a", encoding="utf-8", errors="backslashreplace")
    with opened as log, redirect_stdout(log), redirect_stderr(log):
        try:
            run = Run(parse_settings(cell.args), keep_name=True)
            run.fit()
            about = {"teacher": run.teaching.by} if cell.kind == "method" else {}  # with defaults of the corpus
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            return str(error) if isinstance(error, CrossmodalError) else f"{type(error).__name__}: {error}"
    for folder in list(cell.folder.rglob("checkpoints")):  # only for resuming; the weights are in model.safetensors
        rmtree(folder)
    seconds = round(time.perf_counter() - start, 1)
    write_json(cell.folder / CELL, cell.about | about | {"code": code_version(), "seconds": seconds})
    return None


def prepare_corpora(cells: Sequence[Cell]) -> None:
    """Decode the corpus once before the runs, and check that it can fill every fold."""
    # The control alone needs no faces, and an audio-only corpus has none.
    corpora = [({*cell.stages} <= {"supervised", "control"}, cell.settings["data"]) for cell in cells]
    for is_audio_only, data in {content_key(corpus=one): one for one in corpora}.values():
        corpus = (AudioDataModule if is_audio_only else PairedDataModule)(**data)
        corpus.prepare_data()
        try:
            corpus.setup("fit")
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
