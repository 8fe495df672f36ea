"""Synthetic corpus with RAVDESS's names and formats, which shows that the software works. Not evidence about people."""

from crossmodal.datasets.synthetic.corpus import SYNTHETIC_MARKER, synthesize

__all__ = ("SYNTHETIC_MARKER", "synthesize")
