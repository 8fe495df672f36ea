"""`crossmodal study report`. The report is imported when the command runs: it imports torch."""

import argparse


def report_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `study report`."""
    parser.add_argument("folder", metavar="DIR", help="folder of the study, such as studies/teaching")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")


def report_command(args: argparse.Namespace) -> int:
    """Run `crossmodal study report`."""
    from crossmodal.studies import study_report

    return study_report.report_command(args)
