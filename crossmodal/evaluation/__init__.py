"""Numbers and pictures from predictions: metrics, gain, calibration, similarity, plots and the report of a run."""
