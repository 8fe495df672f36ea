"""Temperature scaling: one number that makes a model as sure as it is right, and changes no answer."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.studies.predictions import Predictions
from crossmodal.studies.statistics import calibration_error

_TEMPERATURES = (0.05, 20.0)
_LEAST = 5e-7  # probabilities are stored with six digits behind the point; 0 is anything below this


def calibrate(predictions: Predictions) -> dict[str, Any] | None:
    """Fit a temperature to clips that the model was not trained on, and say what it is good for.

    Args:
        predictions: Of the validation clips. Log-probabilities are logits but for a constant, which softmax takes away.

    Returns:
        ``temperature``, how many ``clips`` it was fitted to, and on them ``ece_before``, ``ece_after``, ``nll_before``
        and ``nll_after``: calibration error, and mean negative log-likelihood in nats. None where there are no clips.
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
    """The same predictions with logits divided by a temperature."""
    logits = _logits(predictions) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return replace(predictions, probabilities=powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(logits: NDArray[Any], targets: NDArray[np.int64]) -> float:
    """The temperature with the least cross-entropy (Guo et al., "On calibration of modern neural networks", ICML 2017).

    Args:
        logits: (clips, K).
        targets: (clips,) numbers of classes.

    Returns:
        From 0.05 to 20; 1 where there is no clip.

    Example:
        >>> logits = np.log([[0.75, 0.25]] * 4)
        >>> round(fit_temperature(3 * logits, np.array([0, 0, 0, 1])), 3)
        3.0
    """
    from scipy.optimize import minimize_scalar

    if len(targets) == 0:
        return 1.0
    # Convex in 1 / temperature, so there is one minimum in its logarithm too.
    found = minimize_scalar(
        lambda exponent: cross_entropy(logits / np.exp(exponent), targets),
        bounds=tuple(np.log(_TEMPERATURES)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def cross_entropy(logits: NDArray[Any], targets: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood in nats; arguments as of `fit_temperature`."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - shifted[np.arange(len(targets)), targets]).mean())


def _logits(predictions: Predictions) -> NDArray[np.float64]:
    return np.log(np.maximum(predictions.probabilities, _LEAST))
