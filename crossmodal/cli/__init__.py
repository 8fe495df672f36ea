"""Commands of ``python -m crossmodal``."""
