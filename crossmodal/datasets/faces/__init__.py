"""Faces of clips: crops from video, and features from other programs."""
