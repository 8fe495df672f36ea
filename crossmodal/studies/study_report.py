"""`study report`: write the report for the kind of study found in the run folders."""

import argparse
import json
from pathlib import Path

from crossmodal.studies.compare_report import print_comparison, report_methods
from crossmodal.studies.finished import load_runs
from crossmodal.studies.thesis.report import print_applications, report_applications


def report_command(options: argparse.Namespace) -> int:
    """Run `crossmodal study report`."""
    folder = Path(options.folder)
    runs = load_runs(folder)
    if runs[0].kind == "application":
        applications = report_applications(folder, runs)
        if options.format == "table":
            print_applications(folder, applications)
            return 0
        numbers = dict(applications)
    else:
        comparison = report_methods(folder, runs)
        if options.format == "table":
            print_comparison(folder, comparison)
            return 0
        numbers = dict(comparison)
    print(json.dumps(numbers, indent=2, ensure_ascii=False))
    return 0
