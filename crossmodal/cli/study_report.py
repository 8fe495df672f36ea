"""`crossmodal study report`. Reports are imported when the command runs: they import torch."""

import argparse
import json
from pathlib import Path


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
