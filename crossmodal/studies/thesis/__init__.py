"""The study of the thesis: its applications and its claims."""
