"""`fit`: all stages in one command, resumable."""

from crossmodal.pipeline.run import Run, fit

__all__ = ("Run", "fit")
