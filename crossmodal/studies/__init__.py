"""Many runs, one answer: statistics and reports."""

from crossmodal.studies.run_study import report_study, study

__all__ = ("report_study", "study")
