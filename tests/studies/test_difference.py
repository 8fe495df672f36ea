import numpy as np
import pytest
from scipy.stats import mannwhitneyu, wilcoxon

from crossmodal.studies import statistics
from crossmodal.studies.difference import decide, paired_difference, unpaired_difference
from crossmodal.studies.statistics import uar_gain, wilcoxon_by_actor
from tests.studies import make_predictions


def right(numbers: list[int], clips: int = 10) -> np.ndarray:
    """A confusion matrix with so many of `clips` clips of each class right; what is wrong is the next class."""
    matrix = np.diag(numbers)
    for label, number in enumerate(numbers):
        matrix[label, (label + 1) % len(numbers)] += clips - number
    return matrix


def actors(*hits: int, classes: int = 4) -> dict[str, np.ndarray]:
    return {f"{number:02d}": right([hit] * classes) for number, hit in enumerate(hits, start=1)}


class TestPaired:
    def test_of_one_pair_it_is_the_gain_over_a_control(self):
        student, control = (make_predictions(clips=600, actors=8, skill=skill) for skill in (1.5, 1.0))
        found = paired_difference([(student.confusion_by_actor(), control.confusion_by_actor())])
        gain, interval = uar_gain(student, control)
        assert found["gain_pp"] == pytest.approx(100 * gain)
        assert found["ci95_pp"] == pytest.approx(tuple(100 * bound for bound in interval))
        assert found["p"] == pytest.approx(wilcoxon_by_actor([student], [control]))
        assert found["actors"] == 8

    def test_of_several_it_is_the_mean_whatever_their_classes_and_actors(self):
        """Gains of 10 and 30 points, and of 20 for the first actor in a pair with other classes."""
        pairs = [(actors(6, 8), actors(5, 5)), (actors(7, classes=6), actors(5, classes=6))]
        found = paired_difference(pairs)
        assert found["gain_pp"] == pytest.approx((20 + 20) / 2)
        assert found["by_actor_pp"] == {"01": pytest.approx((10 + 20) / 2), "02": pytest.approx(30)}

    def test_the_interval_draws_the_same_actors_for_all(self):
        rng = np.random.default_rng(3)
        gains = np.array([10, 0, 30, -10, 20])
        ours, theirs = actors(*(5 + gains // 10)), actors(*[5] * 5)
        drawn = rng.choice(gains, size=(20_000, 5)).mean(axis=1)
        found = paired_difference([(ours, theirs), (ours, theirs)])
        assert found["ci95_pp"] == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.7)

    def test_p_is_that_of_the_means_of_the_actors(self):
        first = (actors(6, 7, 8, 9, 6, 5, 7), actors(5, 5, 5, 5, 5, 6, 5))
        second = (actors(5, 5, 6, 5, 5, 5, 5), actors(5, 5, 5, 5, 5, 5, 6))
        means = [5, 10, 20, 20, 5, -5, 5]
        assert paired_difference([first, second])["p"] == pytest.approx(wilcoxon(means, zero_method="pratt").pvalue)

    def test_actors_without_a_gain_are_ranked_with_the_others(self):
        """Their rank is 1, the losers' are 2 and 3: of the 16 signs of ranks 2 to 5, 6 put 5 or less on that side."""
        assert paired_difference([(actors(5, 4, 3, 8, 9), actors(5, 5, 5, 5, 5))])["p"] == pytest.approx(2 * 6 / 16)

    def test_gains_far_below_a_point_are_ranked_too(self):
        ours, theirs = (
            {str(actor): right([500 + sign * actor] * 4, clips=1000) for actor in range(1, 7)} for sign in (1, 0)
        )
        assert paired_difference([(ours, theirs)])["p"] == pytest.approx(2 / 2**6)

    def test_who_is_on_one_side_only_has_no_gain(self):
        found = paired_difference([(actors(6, 7, 9), actors(5, 5))])
        assert found["by_actor_pp"] == {"01": pytest.approx(10), "02": pytest.approx(20)}
        assert found["actors"] == 2

    @pytest.mark.parametrize("hits", [(5,), (5, 6)])
    def test_nobody_gains(self, hits):
        found = paired_difference([(actors(*hits), actors(*hits))])
        assert (found["gain_pp"], found["ci95_pp"], found["p"]) == (0, (0, 0), 1)


class TestUnpaired:
    def test_each_side_has_its_own_actors(self):
        ours, theirs = actors(8, 9, 7, 9), actors(5, 6, 5, 7, 4, 6)
        found = unpaired_difference([(ours, theirs)])
        assert found["gain_pp"] == pytest.approx(82.5 - 55)
        assert (found["actors"], found["by_actor_pp"]) == (6, {})  # whoever is on either side; nobody has a gain
        assert found["p"] == pytest.approx(mannwhitneyu([8, 9, 7, 9], [5, 6, 5, 7, 4, 6]).pvalue)
        rng = np.random.default_rng(3)
        sides = [rng.choice(hits, size=(20_000, len(hits))).mean(axis=1) for hits in ([8, 9, 7, 9], [5, 6, 5, 7, 4, 6])]
        interval = np.percentile(10 * (sides[0] - sides[1]), [2.5, 97.5])
        assert found["ci95_pp"] == pytest.approx(tuple(interval), abs=0.7)

    @pytest.mark.filterwarnings("error")
    def test_a_draw_without_anybody_of_a_pair_leaves_the_pair_out(self):
        first, second = (actors(8), actors(5)), ({"02": right([9] * 4)}, {"02": right([6] * 4)})
        found = unpaired_difference([first, second])
        assert found["gain_pp"] == pytest.approx(30)
        assert found["ci95_pp"] == pytest.approx((30, 30))

    def test_what_is_drawn_is_drawn_again_the_next_time(self):
        pairs = [(actors(8, 9, 7, 9), actors(5, 6, 5, 7, 4, 6))]
        assert unpaired_difference(pairs) == unpaired_difference(pairs)

    def test_it_is_wider_than_the_paired_one_where_actors_differ(self):
        ours, theirs = actors(2, 4, 6, 8), actors(1, 3, 5, 7)
        widths = []
        for measure in (paired_difference, unpaired_difference):
            low, high = measure([(ours, theirs)])["ci95_pp"]
            widths.append(high - low)
        assert widths[0] == pytest.approx(0, abs=1e-9)
        assert widths[1] > 20


@pytest.mark.parametrize(
    ("p", "interval", "said"),
    [
        (0.04, (0.1, 3.0), "more"),
        (0.04, (-3.0, -0.1), "less"),
        (0.05, (0.1, 3.0), "open"),
        (0.04, (-0.1, 3.0), "open"),
        (0.04, (-3.0, 0.1), "open"),
        (0.04, (0.0, 3.0), "open"),
        (0.04, (-3.0, 0.0), "open"),
    ],
)
def test_a_claim_needs_test_and_interval(p, interval, said):
    assert decide({"gain_pp": 1.0, "ci95_pp": interval, "p": p, "actors": 8, "by_actor_pp": {}}) == said


def study_without_effect(rng: np.random.Generator, num_actors: int, pairs: int) -> list:
    """Actors differ, in how hard they are and in which side suits them, but no side suits more of them."""
    made = []
    clips, classes = 24, 8
    for _ in range(pairs):
        hard = rng.uniform(0.3, 0.7, num_actors)
        suits = rng.normal(0, 0.04, num_actors)
        sides = []
        for sign in (1, -1):
            hits = rng.binomial(clips, np.clip(hard + sign * suits, 0, 1)[:, None], (num_actors, classes))
            sides.append({str(actor): right(list(hits[actor]), clips) for actor in range(num_actors)})
        made.append(tuple(sides))
    return made


def share_of_claims(cases: int, num_actors: int, pairs: int) -> float:
    rng = np.random.default_rng(0)
    said = [decide(paired_difference(study_without_effect(rng, num_actors, pairs))) for _ in range(cases)]
    return said.count("more") / cases


def test_without_an_effect_a_gain_is_claimed_seldom(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 500)
    assert share_of_claims(200, num_actors=16, pairs=1) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("num_actors", "pairs"), [(24, 1), (16, 1), (6, 1), (24, 5)])
def test_without_an_effect_a_gain_is_claimed_in_at_most_5_of_100_studies(num_actors, pairs, monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    assert share_of_claims(1000, num_actors, pairs) <= 0.05


def test_with_an_effect_it_is_claimed():
    ours, theirs = (actors(*hits) for hits in ((7, 8, 6, 7, 8, 9, 6, 7), (5, 6, 5, 6, 5, 6, 5, 5)))
    assert decide(paired_difference([(ours, theirs)])) == "more"
    assert decide(paired_difference([(theirs, ours)])) == "less"
