import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from crossmodal.studies.predictions import Predictions
from crossmodal.studies.statistics import (
    describe,
    gain_by_actor,
    holm,
    late_fusion,
    macro_f1,
    pool,
    reliability,
    uar,
    uar_gain,
    uar_interval,
    war,
    wilcoxon_by_actor,
)
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


@given(clips=st.integers(1, 80), seed=st.integers(0, 10_000), skill=st.floats(0, 4))
def test_the_distance_of_reliability_is_the_calibration_error(clips, seed, skill):
    said = make_predictions(clips=clips, seed=seed, skill=skill, splits=("test",))
    confidence, accuracy, share = reliability(said)
    assert share.sum() == pytest.approx(1)
    assert float(np.sum(share * np.abs(accuracy - confidence))) == pytest.approx(describe(said)["ece"], abs=1e-6)


def test_reliability_of_four_clips():
    probabilities = np.array([[0.9, 0.1], [0.92, 0.08], [0.4, 0.6], [1.0, 0.0]])
    said = Predictions(("a", "b"), list("wxyz"), ["01"] * 4, ["test"] * 4, np.array([0, 1, 1, 0]), probabilities)
    confidence, accuracy, share = reliability(said)
    assert confidence == pytest.approx([0.6, (0.9 + 0.92) / 2, 1.0])
    assert accuracy == pytest.approx([1.0, 0.5, 1.0])
    assert share == pytest.approx([0.25, 0.5, 0.25])


def test_a_probability_that_rounding_put_above_one_is_in_the_last_bin():
    probabilities = np.array([[1 + 1e-7, 0.0], [1.0, 0.0], [0.95, 0.05]])
    said = Predictions(("a", "b"), list("xyz"), ["01"] * 3, ["test"] * 3, np.zeros(3, np.int64), probabilities)
    assert [values.tolist() for values in reliability(said)[1:]] == [[1.0], [1.0]]


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


@pytest.mark.filterwarnings("error")
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
    with pytest.raises(ValueError, match="A gain needs the student and its control on the same clips"):
        uar_gain(said, make_predictions(clips=59))


def graded(grades: dict[str, int], clips: int = 10) -> Predictions:
    """A model that is right in so many of each actor's clips of each label."""
    actors = [actor for actor in grades for _ in range(4 * clips)]
    targets = np.tile(np.arange(4), clips * len(grades))
    hit = [index // 4 < grade for grade in grades.values() for index in range(4 * clips)]
    guesses = np.where(hit, targets, (targets + 1) % 4)
    names = [f"{actor}-{index}" for index, actor in enumerate(actors)]
    return Predictions(LABELS, names, actors, ["test"] * len(actors), targets, 0.1 + 0.6 * np.eye(4)[guesses])


class TestGainByActor:
    def test_it_is_each_actors_difference_averaged_over_the_runs_that_heard_them(self):
        controls = [graded({"01": 5, "02": 5}), graded({"01": 5, "02": 5}), graded({"03": 2})]
        students = [graded({"01": 6, "02": 5}), graded({"01": 8, "02": 4}), graded({"03": 9})]
        assert gain_by_actor(students, controls) == pytest.approx({"01": 0.2, "02": -0.05, "03": 0.7})

    def test_runs_are_paired(self):
        with pytest.raises(ValueError, match="zip"):
            gain_by_actor([graded({"01": 5})], [])
        with pytest.raises(ValueError, match="A gain needs the student and its control on the same clips"):
            gain_by_actor([graded({"01": 5})], [graded({"02": 5})])


class TestWilcoxon:
    @pytest.mark.parametrize(
        ("gains", "expected"),
        [
            # The signs of n actors can stand in 2^n ways; those with a sum of ranks as extreme are counted, twice.
            ([1, 2, 3, 4], 2 / 16),
            ([-1, -2, -3, -4], 2 / 16),
            ([-1, 2, 3, 4], 4 / 16),
            ([1, 2, 3, 4, 5], 2 / 32),
            ([1, 1, 1, 1], 2 / 16),
            ([0, 1, 2, 1], 2 / 8),
            ([0, -1, -2, 3, 4], 12 / 16),  # nobody's gain has rank 1, and the losers 2 and 3
            ([0, 0, 0, 1], 1.0),
            ([0, 0, 0, 0], 1.0),
            ([1], 1.0),
            ([0], 1.0),
        ],
        ids=str,
    )
    def test_it_is_that_calculated_by_hand(self, gains, expected):
        control = graded({f"{index:02d}": 5 for index in range(len(gains))})
        student = graded({f"{index:02d}": 5 + gain for index, gain in enumerate(gains)})
        assert wilcoxon_by_actor([student], [control]) == pytest.approx(expected)

    def test_which_side_is_which_does_not_matter(self):
        one, other = make_predictions(actors=8, clips=200), make_predictions(actors=8, clips=200, skill=1.6)
        assert wilcoxon_by_actor([one], [other]) == pytest.approx(wilcoxon_by_actor([other], [one]))

    def test_equal_gains_are_equal_ranks_though_arithmetic_is_not_exact(self):
        """Means over three seeds of 0.1, 0.2 and 0.3 in another order differ in the last bit."""
        orders = ([6, 7, 8], [8, 7, 6], [7, 8, 6], [6, 8, 7])
        controls = [graded({f"{index:02d}": 5 for index in range(4)})] * 3
        students = [graded({f"{index:02d}": order[seed] for index, order in enumerate(orders)}) for seed in range(3)]
        assert len(set(np.round(list(gain_by_actor(students, controls).values()), 9))) == 1
        assert wilcoxon_by_actor(students, controls) == pytest.approx(2 / 16)

    def test_without_an_effect_it_is_small_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        small = 0
        for _ in range(200):
            grades = rng.integers(0, 11, size=(2, 16))
            one, other = (graded({f"{actor:02d}": grade for actor, grade in enumerate(row)}) for row in grades)
            small += wilcoxon_by_actor([one], [other]) < 0.05
        assert small <= 200 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 200))


class TestHolm:
    def test_it_is_that_calculated_by_hand(self):
        # In order 0.005, 0.01, 0.03, 0.04: 4 * 0.005, 3 * 0.01, 2 * 0.03, then 1 * 0.04, which may not be below 0.06.
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
        assert holm([0.02]) == [0.02]
        assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_corrected_p_values_are_never_below_the_raw_never_above_one_and_in_the_same_order(p_values):
    corrected = holm(p_values)
    for raw, one in zip(p_values, corrected, strict=True):
        assert raw <= one <= 1
    for first in range(len(p_values)):
        for second in range(len(p_values)):
            if p_values[first] <= p_values[second]:
                assert corrected[first] <= corrected[second]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_the_smallest_corrected_p_value_is_bonferronis_and_none_is_above_it(p_values):
    corrected = holm(p_values)
    assert min(corrected) == pytest.approx(min(1, len(p_values) * min(p_values)))
    for raw, one in zip(p_values, corrected, strict=True):
        assert one <= max(min(1, len(p_values) * raw), raw) + 1e-12


class TestLateFusion:
    def test_it_is_the_normalised_product(self):
        one = make_predictions(clips=20, seed=1)
        other = replace(one, probabilities=make_predictions(clips=20, seed=2).probabilities)
        together = late_fusion(one, other)
        expected = one.probabilities * other.probabilities
        assert together.probabilities == pytest.approx(expected / expected.sum(axis=1, keepdims=True))
        assert together.clips == one.clips

    def test_clips_are_matched_by_name(self):
        one, other = make_predictions(clips=20, seed=1), make_predictions(clips=20, seed=1, skill=3.0)
        order = np.random.default_rng(0).permutation(20)
        shuffled = Predictions(
            LABELS,
            [other.clips[row] for row in order],
            [other.actors[row] for row in order],
            [other.splits[row] for row in order],
            other.targets[order],
            other.probabilities[order],
        )
        expected, found = late_fusion(one, other), late_fusion(one, shuffled)
        assert found.probabilities == pytest.approx(expected.probabilities)

    def test_who_says_nothing_changes_nothing(self):
        said = make_predictions()
        unsure = replace(said, probabilities=np.full_like(said.probabilities, 1 / len(LABELS)))
        assert late_fusion(said, unsure).probabilities == pytest.approx(said.probabilities)

    def test_two_that_are_quite_sure_of_different_things_leave_no_zeros(self):
        said = make_predictions(clips=1)
        one, other = (replace(said, probabilities=np.eye(4)[[label]]) for label in (0, 1))
        together = late_fusion(one, other).probabilities
        assert together[0, 0] == pytest.approx(0.5)
        assert together.sum() == pytest.approx(1)

    def test_other_clips_are_refused(self):
        with pytest.raises(ValueError, match="A late fusion needs both models on the same clips"):
            late_fusion(make_predictions(), make_predictions(clips=59))


def test_pooled_predictions_count_a_clip_once_for_each_run():
    one, other = make_predictions(seed=1), make_predictions(seed=2)
    assert (pool([one, other]).confusion() == one.confusion() + other.confusion()).all()
    assert pool([one, other]).of("test").clips == [*one.of("test").clips, *other.of("test").clips]
    assert (pool([one]).probabilities == one.probabilities).all()
