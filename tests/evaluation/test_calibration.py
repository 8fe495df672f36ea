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
    return Predictions(
        LABELS,
        [f"clip{index}" for index in range(count)],
        ["01"] * count,
        ["val"] * count,
        np.array(targets, np.int64),
        np.array(probabilities, np.float64).reshape(count, len(LABELS)),
    )


def overconfident(count: int = 400, sure: float = 4.0) -> Predictions:
    """What a model says whose logits are `sure` times as far apart as they should be."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1.5, (count, 3))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = right**sure / (right**sure).sum(axis=1, keepdims=True)
    return predictions(said, [generator.choice(3, p=row) for row in right])


@given(temperature=st.floats(0.1, 10))
def test_the_temperature_undoes_a_scale(temperature):
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


def test_the_cross_entropy_is_sklearns():
    said = overconfident(50)
    expected = log_loss(said.targets, said.probabilities, labels=[0, 1, 2])
    assert cross_entropy(np.log(said.probabilities), said.targets) == pytest.approx(expected, abs=1e-9)


def test_an_overconfident_model_is_made_as_sure_as_it_is_right():
    found = calibrate(overconfident(sure=4.0))
    assert found["temperature"] == pytest.approx(4.0, rel=0.15)  # 400 clips tell no more
    assert found["clips"] == 400
    assert found["ece_before"] > 0.1 > 0.06 > found["ece_after"]
    assert found["nll_after"] < found["nll_before"]


@given(temperature=st.floats(0.05, 20))
def test_no_answer_changes(temperature):
    said = overconfident(50)
    softened = soften(said, temperature)
    np.testing.assert_array_equal(softened.probabilities.argmax(axis=1), said.probabilities.argmax(axis=1))
    np.testing.assert_allclose(softened.probabilities.sum(axis=1), 1)


def test_a_probability_that_was_stored_as_nothing_is_no_infinity():
    found = calibrate(predictions([[1, 0, 0], [1, 0, 0], [0.4, 0.6, 0]], [0, 1, 1]))
    assert all(np.isfinite(value) for value in found.values())


def test_no_clips_no_temperature():
    assert calibrate(predictions([], [])) is None
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64)) == 1.0
