"""`crossmodal fit`."""

from collections.abc import Sequence

from crossmodal.pipeline.loggers import run_name
from crossmodal.pipeline.run import Run
from crossmodal.pipeline.settings import parse_settings


def fit_command(args: Sequence[str]) -> int:
    """Run `crossmodal fit`."""
    settings = parse_settings(args)
    Run({**settings, "name": run_name(settings["name"])}).fit()
    return 0
