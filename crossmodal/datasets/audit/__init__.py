"""Checks of a corpus: its layout, its files, and the synchrony of sound and face."""
