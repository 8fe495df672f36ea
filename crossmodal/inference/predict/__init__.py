"""Inputs, batch inference, output formats and plots of `crossmodal predict`."""
