import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import log_loss

from crossmodal.evaluation.calibration import calibrate, cross_entropy, fit_temperature, soften
from crossmodal.evaluation.predictions import Predictions

LABELS = ("calm", "angry", "sad")


def predictions(probabilities, targets) -> Predictions:
    count = len(targets)
    names = ([f"clip{index}" for index in range(count)], ["01"] * count, ["val"] * count)
    return Predictions(LABELS, *names, np.array(targets, np.int64), np.array(probabilities, float).reshape(count, 3))


def overconfident(count: int = 400, sure: float = 4.0) -> Predictions:
    """Create predictions from logits that are `sure` times too large."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1.5, (count, 3))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = right**sure / (right**sure).sum(axis=1, keepdims=True)
    return predictions(wrong, [generator.choice(3, p=row) for row in right])


@given(temperature=st.floats(0.1, 10))
def test_the_temperature_inverts_a_scale(temperature):
    shares = np.array([[0.7, 0.2, 0.1]] * 10)
    targets = np.array([0] * 7 + [1] * 2 + [2])
    assert fit_temperature(temperature * np.log(shares), targets) == pytest.approx(temperature, rel=1e-3)


@given(
    logits=hnp.arrays(np.float64, (12, 3), elements=st.floats(-8, 8)),
    targets=hnp.arrays(np.int64, 12, elements=st.integers(0, 2)),
)
def test_no_other_temperature_is_better(logits, targets):
    best = cross_entropy(logits / fit_temperature(logits, targets), targets)
    for other in np.geomspace(0.06, 19, 40):
        assert best <= cross_entropy(logits / other, targets) + 1e-6


def test_cross_entropy_matches_sklearn():
    predicted = overconfident(50)
    expected = log_loss(predicted.targets, predicted.probabilities, labels=[0, 1, 2])
    assert cross_entropy(np.log(predicted.probabilities), predicted.targets) == pytest.approx(expected, abs=1e-9)


def test_an_overconfident_model_is_calibrated():
    found = calibrate(overconfident(sure=4.0))
    assert found["temperature"] == pytest.approx(4.0, rel=0.15)  # as exact as 400 clips allow
    assert found["clips"] == 400
    assert found["ece_before"] > 0.1 > 0.06 > found["ece_after"]
    assert found["nll_after"] < found["nll_before"]


@given(temperature=st.floats(0.05, 20))
def test_temperature_does_not_change_the_predicted_class(temperature):
    predicted = overconfident(50)
    softened = soften(predicted, temperature)
    np.testing.assert_array_equal(softened.probabilities.argmax(axis=1), predicted.probabilities.argmax(axis=1))
    np.testing.assert_allclose(softened.probabilities.sum(axis=1), 1)


def test_zero_probabilities_give_finite_results():
    found = calibrate(predictions([[1, 0, 0], [1, 0, 0], [0.4, 0.6, 0]], [0, 1, 1]))
    assert all(np.isfinite(value) for value in found.values())


def test_without_clips():
    assert calibrate(predictions([], [])) is None
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64)) == 1.0
