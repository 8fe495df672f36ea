"""`crossmodal study preflight`, `run` and `report`. Studies are imported when a command runs: they import torch."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.setting_keys import check_words
from crossmodal.shipped_configs import find_config

if TYPE_CHECKING:
    from crossmodal.studies.grid import Cell

_MANY_RUNS = 50
_EXAMPLES = """examples:
  crossmodal study run teaching --jobs 2 --data.root ravdess --data.face_features au.csv
  crossmodal study run label_efficiency --labelled 2,all --data.root ravdess --data.face_features au.csv
  crossmodal study run applications --jobs 2 --folds 0 --seeds 0
  crossmodal study run applications --data.root ravdess --print-commands > commands.txt
"""


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `study run`; other arguments are keys of `fit`."""
    parser.usage = "crossmodal study run FILE [options] [--key value]..."
    parser.description = (
        "Run a study: each method on each fold with each seed, where every run is a fit with its own control; or each "
        "application with its own stages under each protocol. Finished runs are skipped and interrupted runs are "
        "resumed. Failed runs are listed at the end (exit status 1) and retried when the command is rerun. Runs share "
        "the decoded corpus, teachers and controls. Then write the report with `crossmodal study report DIR`. "
        "--key value is a key of fit for all runs, such as --data.root DIR, and overrides FILE."
    )
    parser.formatter_class, parser.epilog = _HelpFormatter, _EXAMPLES
    shipped = "YAML file, or the name of a shipped study: teaching, teaching_lstm, label_efficiency, students or "
    shipped += "applications"
    parser.add_argument("file", type=lambda name: find_config(name, "studies"), metavar="FILE", help=shipped)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder; default: studies/ and the name of the file")
    jobs = "parallel runs, each in a process with one thread; default: %(default)s"
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help=jobs)
    for name, parse, meaning in (
        ("protocols", _names, "override the protocols of applications, such as loso24,random"),
        ("folds", _numbers, "override the folds, such as 0,1"),
        ("seeds", _numbers, "override the seeds, such as 0,1,2"),
        ("labelled", _numbers_or_all, "override the numbers of labelled training actors, such as 2,4,all"),
        ("students", _names, "teach only these students, by name"),
        ("only", _names, "run only these runs, by the names of their folders"),
    ):
        parser.add_argument(f"--{name}", type=parse, metavar="LIST", help=meaning)
    names = "run only these methods or applications, by name"
    parser.add_argument("--methods", "--applications", dest="names", type=_names, metavar="LIST", help=names)
    commands = "print a command for each unfinished run, for any scheduler, and run nothing"
    yes = f"start more than {_MANY_RUNS} runs without asking; only a terminal is asked"
    parser.add_argument("--yes", action="store_true", help=yes)
    parser.add_argument("--print-commands", action="store_true", help=commands)


class _HelpFormatter(argparse.HelpFormatter):
    """Formatter that keeps the lines of the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text == _EXAMPLES else super()._fill_text(text, width, indent)


def run_command(args: argparse.Namespace) -> int:
    """Run `crossmodal study run`; `args.words` is the whole command line and `args.keys` the keys of fit in it."""
    check_words(args.keys)
    from crossmodal.studies.estimate import describe_work
    from crossmodal.studies.run_grid import run_cells
    from crossmodal.studies.run_study import describe_failures, plan_study

    study, out, cells = plan_study(args.file, args.keys, args.out, **narrowed(args))
    if args.print_commands:
        _print_commands(args.words, cells)
        return 0
    print(describe_work(cells, args.jobs, study.minutes_per_run), flush=True)
    if not args.yes and sum(not cell.is_finished for cell in cells) > _MANY_RUNS and not _is_confirmed():
        print("Nothing was started. To start without this question, add --yes.", file=sys.stderr)
        return 1
    failed = run_cells(cells, args.jobs)
    if failed:
        print(describe_failures(out, failed), file=sys.stderr)
    advice = "; rerun the same command to retry the others" if failed else ""
    print(f"{len(cells) - len(failed)} of {len(cells)} runs are finished{advice}.")
    print(f"To print the table: python -m crossmodal study report {out}")
    return 1 if failed else 0


def narrowed(args: argparse.Namespace) -> dict[str, Sequence[Any] | None]:
    """Return the arguments of `study run` that choose runs, for `plan_study`."""
    names = ("only", "names", "students", "protocols", "folds", "seeds")
    return {"labelled_actors": args.labelled, **{name: getattr(args, name) for name in names}}


def _is_confirmed() -> bool:
    """Ask a person at a terminal; a scheduler, which has none, is not asked."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    try:
        return input("Start these runs? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _print_commands(args: Sequence[str], cells: "Sequence[Cell]") -> None:
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


def _numbers_or_all(text: str) -> list[int | None]:
    return [None if part == "all" else _numbers(part)[0] for part in text.split(",")]


def report_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `study report`."""
    parser.add_argument("folder", metavar="DIR", help="folder of the study, such as studies/teaching")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")


def report_command(args: argparse.Namespace) -> int:
    """Run `crossmodal study report`."""
    from crossmodal.studies.run_study import report_study

    folder = Path(args.folder)
    report = report_study(folder)
    if args.format == "json":
        print(json.dumps(report.numbers, indent=2))
    else:
        report.print(folder)
    return 0


def preflight_command(args: Sequence[str]) -> int:
    """Run `crossmodal study preflight`."""
    from crossmodal.studies.preflight.run import run_preflight

    run_preflight(args).print()
    return 0
