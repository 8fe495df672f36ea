import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from crossmodal.studies.predictions import Predictions
from crossmodal.studies.statistics import describe, macro_f1, uar, uar_gain, uar_interval, war
from tests.studies import LABELS, make_predictions


def predicted(said: Predictions) -> np.ndarray:
    return said.probabilities.argmax(axis=1)


def sklearn_metrics(said: Predictions) -> tuple[float, float, float]:
    occurring = np.unique(said.targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that classes are predicted which do not occur
        recall = balanced_accuracy_score(said.targets, predicted(said))
    f1 = f1_score(said.targets, predicted(said), labels=occurring, average="macro", zero_division=0)
    return recall, accuracy_score(said.targets, predicted(said)), f1


def naive_interval(students: list[Predictions], draws: int = 2000, level: float = 95) -> tuple[float, float]:
    """Resample actors one by one, and count every drawn clip again; of two students, the difference."""
    rng = np.random.default_rng(7)
    actors = sorted(set(students[0].actors))
    clips = {actor: [row for row, name in enumerate(students[0].actors) if name == actor] for actor in actors}
    values = []
    for _ in range(draws):
        rows = np.concatenate([clips[actor] for actor in rng.choice(actors, len(actors))])
        recalls = []
        for said in students:
            hit = predicted(said)[rows] == said.targets[rows]
            recalls.append(np.mean([hit[said.targets[rows] == label].mean() for label in set(said.targets[rows])]))
        values.append(recalls[0] - (recalls[1] if len(recalls) > 1 else 0))
    return tuple(np.percentile(values, [50 - level / 2, 50 + level / 2]))


@given(clips=st.integers(1, 60), seed=st.integers(0, 10_000), absent=st.sets(st.integers(0, 3), max_size=3))
def test_metrics_are_those_of_sklearn_even_where_a_class_is_absent(clips, seed, absent):
    said = make_predictions(clips=clips, seed=seed, absent=absent)
    matrix = said.confusion()
    expected_uar, expected_war, expected_f1 = sklearn_metrics(said)
    assert float(uar(matrix)) == pytest.approx(expected_uar)
    assert float(war(matrix)) == pytest.approx(expected_war)
    assert macro_f1(matrix) == pytest.approx(expected_f1)


def test_a_class_that_only_is_predicted_does_not_count():
    matrix = [[3, 0, 1], [0, 2, 0], [0, 0, 0]]
    assert float(uar(matrix)) == pytest.approx((3 / 4 + 1) / 2)


def test_metrics_of_many_matrices_are_those_of_each():
    matrices = np.random.default_rng(0).integers(0, 9, size=(5, 2, 4, 4))
    assert uar(matrices).shape == war(matrices).shape == (5, 2)
    assert uar(matrices)[3, 1] == pytest.approx(float(uar(matrices[3, 1])))
    assert war(matrices)[3, 1] == pytest.approx(float(war(matrices[3, 1])))


def test_no_clips_have_no_uar():
    assert np.isnan(uar(np.zeros((3, 3))))
    assert np.isnan(war(np.zeros((3, 3))))


def test_describe_says_all_of_it():
    said = make_predictions(clips=80)
    metrics = describe(said)
    assert (metrics["uar"], metrics["war"], metrics["f1"]) == pytest.approx(sklearn_metrics(said))
    low, high = metrics["uar_ci95"]
    assert low < metrics["uar"] < high


def test_the_calibration_error_is_that_of_fifteen_bins_by_hand():
    said = make_predictions(clips=200)
    confidence, hit = said.probabilities.max(axis=1), predicted(said) == said.targets
    bins = np.minimum((confidence * 15).astype(int), 14)
    expected = sum(
        (bins == index).mean() * abs(hit[bins == index].mean() - confidence[bins == index].mean())
        for index in np.unique(bins)
    )
    assert describe(said)["ece"] == pytest.approx(expected, abs=1e-6)


def test_the_interval_is_that_of_a_naive_bootstrap_over_actors():
    said = make_predictions(clips=240, actors=6)
    easy = np.array([actor in {"01", "02"} for actor in said.actors])
    said.probabilities[easy] = np.eye(4)[said.targets[easy]]  # actors who differ: a wide interval
    low, high = uar_interval(said)
    assert (low, high) == pytest.approx(naive_interval([said], draws=4000), abs=0.02)
    narrower = naive_interval([said], draws=4000, level=90)
    assert low < narrower[0] - 0.02
    assert high > narrower[1] + 0.02


def test_the_interval_is_wider_where_actors_differ_than_where_clips_do():
    """Actors are resampled, not clips: a hundred clips of two opposite actors are two things, not a hundred."""
    targets = np.tile(np.arange(4), 25)
    actors = ["01"] * 52 + ["02"] * 48
    right = np.eye(4)[targets]
    right[52:] = np.eye(4)[(targets[52:] + 1) % 4]  # all wrong
    said = Predictions(LABELS, [str(index) for index in range(100)], actors, ["test"] * 100, targets, right)
    assert uar_interval(said) == (0.0, 1.0)


def test_one_actor_has_no_spread():
    said = make_predictions(clips=40, actors=1)
    value = float(uar(said.confusion()))
    assert uar_interval(said) == pytest.approx((value, value))


def test_the_gain_is_the_difference_and_its_interval_that_of_a_naive_paired_bootstrap():
    control = make_predictions(clips=120, seed=3, skill=0.5)
    rng = np.random.default_rng(5)
    better = np.where((rng.random(120) < 0.3)[:, None], np.eye(4)[control.targets], control.probabilities)
    student = Predictions(LABELS, control.clips, control.actors, control.splits, control.targets, better)
    gain, interval = uar_gain(student, control)
    assert gain == pytest.approx(sklearn_metrics(student)[0] - sklearn_metrics(control)[0])
    assert gain > 0
    assert interval == pytest.approx(naive_interval([student, control]), abs=0.015)


def test_identical_predictions_gain_exactly_nothing():
    said = make_predictions(clips=80)
    assert uar_gain(said, said) == (0.0, (0.0, 0.0))


def test_a_gain_and_its_opposite_mirror_each_other():
    one, other = make_predictions(skill=2.0), make_predictions(skill=0.2)
    gain, (low, high) = uar_gain(one, other)
    loss, (lowest, highest) = uar_gain(other, one)
    assert loss == pytest.approx(-gain)
    assert (lowest, highest) == pytest.approx((-high, -low), abs=1e-9)


def test_the_order_of_the_clips_does_not_matter():
    student, control = make_predictions(skill=2.0), make_predictions(skill=0.2)
    order = np.random.default_rng(0).permutation(len(control.clips))
    shuffled = Predictions(
        LABELS,
        [control.clips[row] for row in order],
        [control.actors[row] for row in order],
        [control.splits[row] for row in order],
        control.targets[order],
        control.probabilities[order],
    )
    assert uar_gain(student, shuffled) == uar_gain(student, control)


def test_a_gain_on_other_clips_is_refused():
    said = make_predictions()
    with pytest.raises(ValueError, match="needs the student and its control on the same clips"):
        uar_gain(said, make_predictions(clips=59))
