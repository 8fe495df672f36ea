"""`crossmodal study preflight`."""

from collections.abc import Sequence

from crossmodal.studies.preflight.run import run_preflight


def preflight_command(args: Sequence[str]) -> int:
    """Run `crossmodal study preflight`."""
    run_preflight(args).print()
    return 0
