"""Checks of a corpus: its layout and its files."""
