"""Temperature scaling: one number that calibrates the probabilities and changes no predicted class."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from crossmodal.evaluation.metrics import calibration_error
from crossmodal.evaluation.predictions import SMALLEST_PROBABILITY, Predictions

_TEMPERATURES = (0.05, 20.0)


def calibrate(predictions: Predictions) -> dict[str, Any] | None:
    """Fit a temperature to validation clips, and measure its effect on them; None if there are no clips.

    Log-probabilities serve as logits: softmax removes the constant. ``ece`` is the calibration error as a fraction,
    ``nll`` the mean negative log-likelihood in nats.
    """
    if not predictions.clips:
        return None
    logits = _logits(predictions)
    temperature = fit_temperature(logits, predictions.targets)
    after = soften(predictions, temperature)
    return {
        "temperature": round(temperature, 4),
        "clips": len(predictions.clips),
        "ece_before": round(calibration_error(predictions), 4),
        "ece_after": round(calibration_error(after), 4),
        "nll_before": round(cross_entropy(logits, predictions.targets), 4),
        "nll_after": round(cross_entropy(logits / temperature, predictions.targets), 4),
    }


def soften(predictions: Predictions, temperature: float) -> Predictions:
    """Return the predictions with logits divided by a temperature."""
    return replace(predictions, probabilities=softmax(_logits(predictions) / temperature, axis=1))


def fit_temperature(logits: NDArray[Any], targets: NDArray[np.int64]) -> float:
    """Find the temperature, from 0.05 to 20, with the least cross-entropy; 1 if there are no clips.

    See Guo et al., "On calibration of modern neural networks", ICML 2017. Logits are (n, K), targets are class indices.
    """
    if len(targets) == 0:
        return 1.0
    # Convex in 1 / temperature, so there is one minimum in its logarithm too.
    result = minimize_scalar(
        lambda exponent: cross_entropy(logits / np.exp(exponent), targets),
        bounds=tuple(np.log(_TEMPERATURES)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(result.x))


def cross_entropy(logits: NDArray[Any], targets: NDArray[np.int64]) -> float:
    """Compute the mean negative log-likelihood in nats of (n, K) logits."""
    log_probabilities = log_softmax(np.asarray(logits, np.float64), axis=1)
    return float(-log_probabilities[np.arange(len(targets)), targets].mean())


def _logits(predictions: Predictions) -> NDArray[np.float64]:
    return np.log(np.maximum(predictions.probabilities, SMALLEST_PROBABILITY))
