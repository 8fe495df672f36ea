"""Pre-flight: measures on one fold of what a teacher can add, before a full study."""

from crossmodal.studies.preflight.report import PreflightReport
from crossmodal.studies.preflight.run import preflight

__all__ = ("PreflightReport", "preflight")
