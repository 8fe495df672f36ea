import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from crossmodal.evaluation.metrics import (
    LEAST_FOR_INTERVAL,
    describe,
    late_fusion,
    macro_f1,
    pool,
    uar,
    uar_interval,
    war,
)
from crossmodal.evaluation.predictions import Predictions
from crossmodal.labels_for_people import NO_INTERVAL
from tests.evaluation import make_predictions, shuffle


def predicted(predictions: Predictions) -> np.ndarray:
    return predictions.probabilities.argmax(axis=1)


def sklearn_metrics(predictions: Predictions) -> tuple[float, float, float]:
    occurring = np.unique(predictions.targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about predicted classes that do not occur
        recall = balanced_accuracy_score(predictions.targets, predicted(predictions))
    f1 = f1_score(predictions.targets, predicted(predictions), labels=occurring, average="macro", zero_division=0)
    return recall, accuracy_score(predictions.targets, predicted(predictions)), f1


def test_calibration_error_of_four_clips():
    probabilities = np.array([[0.9, 0.1], [0.92, 0.08], [0.4, 0.6], [1.0, 0.0]])
    predictions = Predictions(("a", "b"), list("wxyz"), ["01"] * 4, ["test"] * 4, np.array([0, 1, 1, 0]), probabilities)
    # Three bins: 0.6 is right, 0.9 and 0.92 are right once, and 1.0 is right.
    assert describe(predictions)["ece"] == pytest.approx(0.25 * 0.4 + 0.5 * 0.41 + 0.25 * 0)


def naive_interval(students: list[Predictions], draws: int = 2000, level: float = 95) -> tuple[float, float]:
    """Compute a bootstrap over actors with plain loops: of one model, or of the difference of two."""
    rng = np.random.default_rng(7)
    actors = sorted(set(students[0].actors))
    clips = {actor: [row for row, name in enumerate(students[0].actors) if name == actor] for actor in actors}
    values = []
    for _ in range(draws):
        rows = np.concatenate([clips[actor] for actor in rng.choice(actors, len(actors))])
        recalls = []
        for predictions in students:
            targets = predictions.targets[rows]
            hit = predicted(predictions)[rows] == targets
            recalls.append(np.mean([hit[targets == label].mean() for label in set(targets)]))
        values.append(recalls[0] - (recalls[1] if len(recalls) > 1 else 0))
    return tuple(np.percentile(values, [50 - level / 2, 50 + level / 2]))


@given(clips=st.integers(1, 60), seed=st.integers(0, 10_000), absent=st.sets(st.integers(0, 3), max_size=3))
def test_metrics_match_sklearn_with_an_absent_class(clips, seed, absent):
    predictions = make_predictions(clips=clips, seed=seed, absent=absent)
    matrix = predictions.confusion()
    expected_uar, expected_war, expected_f1 = sklearn_metrics(predictions)
    assert float(uar(matrix)) == pytest.approx(expected_uar)
    assert float(war(matrix)) == pytest.approx(expected_war)
    assert macro_f1(matrix) == pytest.approx(expected_f1)


def test_metrics_of_several_matrices():
    matrices = np.random.default_rng(0).integers(0, 9, size=(5, 2, 4, 4))
    assert uar(matrices).shape == war(matrices).shape == (5, 2)
    assert uar(matrices)[3, 1] == pytest.approx(float(uar(matrices[3, 1])))
    assert war(matrices)[3, 1] == pytest.approx(float(war(matrices[3, 1])))


@pytest.mark.filterwarnings("error")
def test_uar_without_clips_is_nan():
    assert np.isnan(uar(np.zeros((3, 3))))
    assert np.isnan(war(np.zeros((3, 3))))


def test_describe_returns_all_metrics():
    predictions = make_predictions(clips=80)
    metrics = describe(predictions)
    assert (metrics["uar"], metrics["war"], metrics["f1"]) == pytest.approx(sklearn_metrics(predictions))
    low, high = metrics["uar_ci95"]
    assert low < metrics["uar"] < high


def test_the_interval_matches_a_naive_bootstrap_over_actors():
    predictions = make_predictions(clips=240, actors=6)
    easy = np.array([actor in {"01", "02"} for actor in predictions.actors])
    predictions.probabilities[easy] = np.eye(4)[predictions.targets[easy]]  # different actors give a wide interval
    low, high = uar_interval(predictions)
    assert (low, high) == pytest.approx(naive_interval([predictions], draws=4000), abs=0.02)
    narrower = naive_interval([predictions], draws=4000, level=90)
    assert low < narrower[0] - 0.02
    assert high > narrower[1] + 0.02


@pytest.mark.parametrize(("actors", "has_interval"), [(1, False), (2, False), (3, True)])
def test_an_interval_needs_three_actors(actors, has_interval):
    predictions = make_predictions(clips=40, actors=actors)
    assert (uar_interval(predictions) is not None) == has_interval
    assert (describe(predictions)["uar_ci95"] is not None) == has_interval


def test_the_text_for_no_interval_names_the_rule():
    assert f"fewer than {LEAST_FOR_INTERVAL} " in NO_INTERVAL


class TestLateFusion:
    def test_normalised_product(self):
        one = make_predictions(clips=20, seed=1)
        other = replace(one, probabilities=make_predictions(clips=20, seed=2).probabilities)
        together = late_fusion(one, other)
        expected = one.probabilities * other.probabilities
        assert together.probabilities == pytest.approx(expected / expected.sum(axis=1, keepdims=True))
        assert together.clips == one.clips

    def test_clips_are_matched_by_name(self):
        one, other = make_predictions(clips=20, seed=1), make_predictions(clips=20, seed=1, skill=3.0)
        expected, found = late_fusion(one, other), late_fusion(one, shuffle(other))
        assert found.probabilities == pytest.approx(expected.probabilities)

    def test_contradicting_certain_models_give_finite_probabilities(self):
        predictions = make_predictions(clips=1)
        one, other = (replace(predictions, probabilities=np.eye(4)[[label]]) for label in (0, 1))
        together = late_fusion(one, other).probabilities
        assert together[0, 0] == pytest.approx(0.5)
        assert together.sum() == pytest.approx(1)

    def test_different_clips_are_rejected(self):
        with pytest.raises(ValueError, match="same clips"):
            late_fusion(make_predictions(), make_predictions(clips=59))


def test_pooled_predictions_count_a_clip_once_for_each_run():
    one, other = make_predictions(seed=1), make_predictions(seed=2)
    assert (pool([one, other]).confusion() == one.confusion() + other.confusion()).all()
    assert pool([one, other]).of("test").clips == [*one.of("test").clips, *other.of("test").clips]
    assert (pool([one]).probabilities == one.probabilities).all()
