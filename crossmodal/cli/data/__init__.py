"""Commands ``crossmodal data ...``."""
