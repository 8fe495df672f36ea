"""`crossmodal study preflight`."""

from collections.abc import Sequence

from crossmodal.pipeline.run import silence_lightning
from crossmodal.studies.preflight.run import preflight


def preflight_command(args: Sequence[str]) -> int:
    """Run `crossmodal study preflight`."""
    silence_lightning()
    preflight(args)
    return 0
