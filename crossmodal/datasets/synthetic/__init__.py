"""A synthetic corpus in RAVDESS's names and formats: it shows that the machine works, and says nothing about people."""

from crossmodal.datasets.synthetic.corpus import SYNTHETIC_MARKER, synthesize

__all__ = ("SYNTHETIC_MARKER", "synthesize")
