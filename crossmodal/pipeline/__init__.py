"""`fit`: all stages in one command, resumable."""

from crossmodal.pipeline.arguments import FitSettings
from crossmodal.pipeline.evaluate import Evaluation, test
from crossmodal.pipeline.run import Run, fit
from crossmodal.pipeline.summary import RunSummary

__all__ = ("Evaluation", "FitSettings", "Run", "RunSummary", "fit", "test")
