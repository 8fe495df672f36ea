from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import wilcoxon
from sklearn.metrics import recall_score

from crossmodal.datasets.clip import Clip
from crossmodal.evaluation import metrics
from crossmodal.evaluation.gain import decide, holm, mean_gain, measure_gain
from crossmodal.evaluation.metrics import pool
from crossmodal.evaluation.predictions import Predictions
from crossmodal.pipeline.summary import summarize
from crossmodal.studies.compare import compare
from crossmodal.studies.finished import load_runs
from crossmodal.studies.preflight.measures import Pairs, measure
from crossmodal.studies.thesis.claims import answer
from tests.evaluation import LABELS, make_predictions, shuffle
from tests.evaluation.test_metrics import naive_interval
from tests.pipeline.test_summary import corpus
from tests.studies.finished_runs import write_application, write_run

SPLITS = ("val", "test")


def right(numbers: list[int], clips: int = 10) -> np.ndarray:
    """Create a confusion matrix with `numbers` correct clips per class; the others are in the next class."""
    matrix = np.diag(numbers)
    for label, number in enumerate(numbers):
        matrix[label, (label + 1) % len(numbers)] += clips - number
    return matrix


def actors(*hits: int, classes: int = 4) -> dict[str, np.ndarray]:
    return {f"{number:02d}": right([hit] * classes) for number, hit in enumerate(hits, start=1)}


def graded(grades: dict[str, int], clips: int = 10) -> Predictions:
    """Create predictions with the given number of correct clips per label for each actor."""
    actors = [actor for actor in grades for _ in range(4 * clips)]
    targets = np.tile(np.arange(4), clips * len(grades))
    hit = [index // 4 < grade for grade in grades.values() for index in range(4 * clips)]
    guesses = np.where(hit, targets, (targets + 1) % 4)
    names = [f"{actor}-{index}" for index, actor in enumerate(actors)]
    return Predictions(LABELS, names, actors, ["test"] * len(actors), targets, 0.1 + 0.6 * np.eye(4)[guesses])


def pooled_recall(runs: list[Predictions]) -> float:
    """Compute the mean recall over all clips of all runs with scikit-learn."""
    targets = np.concatenate([run.targets for run in runs])
    guesses = np.concatenate([run.probabilities.argmax(axis=1) for run in runs])
    return recall_score(targets, guesses, labels=np.unique(targets), average="macro", zero_division=0)


@given(seed=st.integers(0, 10_000), num_runs=st.integers(1, 3))
def test_the_gain_is_the_difference_of_pooled_recalls(seed, num_runs):
    """Runs differ in size, actors and classes, so the mean of their gains differs from the pooled gain."""
    sizes = [{"clips": 30 + 50 * n, "actors": 3 + n, "seed": seed + n, "absent": {n}} for n in range(num_runs)]
    students, controls = ([make_predictions(**size, skill=skill) for size in sizes] for skill in (1.5, 0.7))
    pairs = zip(students, controls, strict=True)
    controls = [replace(student, probabilities=control.probabilities) for student, control in pairs]
    gain = measure_gain(students, controls)
    assert gain["gain_pp"] == pytest.approx(100 * (pooled_recall(students) - pooled_recall(controls)))


def test_fit_study_claims_and_preflight_report_the_same_gain(tmp_path):
    rng = np.random.default_rng(4)
    targets = np.tile(np.arange(4), 30)
    clips = [Clip(f"clip-{index}", f"{index // 24 + 1:02d}", LABELS[target]) for index, target in enumerate(targets)]
    teacher, control = (log_softmax(rng.normal(size=(120, 4)) + skill * np.eye(4)[targets], 1) for skill in (2, 1))

    def predictions(scores):
        probabilities = [softmax(scores, axis=1)]
        return pool([Predictions.of_clips([(c, split) for c in clips], LABELS, probabilities) for split in SPLITS])

    stages = {"supervised": control, "control": control, "transfer": control, "finetune": teacher + control}
    stages = {name: predictions(scores) for name, scores in stages.items()}
    students, controls = ([stages[name].of("test")] for name in ("finetune", "control"))
    expected = measure_gain(students, controls)
    assert expected["gain_pp"] > 5

    results = {
        name: SimpleNamespace(predictions=predicted, metrics={}, seconds=1, epochs=1, best_epoch=0, reused=False)
        for name, predicted in stages.items()
    }
    fit = summarize({"name": "fit", "seed_everything": 0}, corpus(), results)
    assert fit.gain == pytest.approx(expected["gain_pp"], abs=0.005)
    assert fit.interval == pytest.approx(list(expected["ci95_pp"]), abs=0.005)

    hits = {split: {"01": [5] * 4} for split in SPLITS}
    folder = write_run(tmp_path / "study", "taught", 0, 0, {"control": hits})
    for name, predicted in {**stages, "teacher": predictions(teacher)}.items():
        predicted.write_csv(folder / name / "predictions.csv")
    (row,) = compare(load_runs(tmp_path / "study"))["methods"]
    numbers = {name: expected[name] for name in ("gain_pp", "ci95_pp", "p")}
    assert row["over_control"] == numbers | {"p_holm": expected["p"]}
    assert row["val_gain_pp"] == row["fold_gains_pp"]["0"] == expected["gain_pp"]

    write_application(tmp_path / "applications", "taught", "seq6", 0, 0, stages)
    assert answer(load_runs(tmp_path / "applications"))[0]["difference"] == expected

    arrays = {"teacher_embedding": teacher, "student_embedding": control, "sound": rng.normal(size=(120, 2))}
    pairs = Pairs(clips, targets, teacher_logits=teacher, student_logits=control, **arrays)
    fusion = measure(pairs, pairs, LABELS)["fusion_gain"]
    assert fusion["uar"] == pytest.approx(expected["gain_pp"] / 100)
    assert fusion["ci95"] == pytest.approx(tuple(bound / 100 for bound in expected["ci95_pp"]))


def test_the_interval_matches_a_naive_paired_bootstrap():
    control = make_predictions(clips=120, seed=3, skill=0.5)
    rng = np.random.default_rng(5)
    better = np.where((rng.random(120) < 0.3)[:, None], np.eye(4)[control.targets], control.probabilities)
    student = replace(control, probabilities=better)
    gain = measure_gain([student], [control])
    assert gain["gain_pp"] > 0
    expected = tuple(100 * bound for bound in naive_interval([student, control]))
    assert gain["ci95_pp"] == pytest.approx(expected, abs=1.5)


def test_swapped_sides_negate_the_gain():
    one, other = make_predictions(skill=2.0), make_predictions(skill=0.2)
    gain, loss = measure_gain([one], [other]), measure_gain([other], [one])
    assert loss["gain_pp"] == pytest.approx(-gain["gain_pp"])
    assert loss["ci95_pp"] == pytest.approx(tuple(-bound for bound in reversed(gain["ci95_pp"])), abs=1e-9)
    assert loss["p"] == pytest.approx(gain["p"])


def test_the_order_of_the_clips_does_not_matter():
    student, control = make_predictions(skill=2.0), make_predictions(skill=0.2)
    assert measure_gain([student], [shuffle(control)]) == measure_gain([student], [control])


class TestByActor:
    def test_the_gain_of_an_actor_is_pooled_over_the_runs_with_that_actor(self):
        controls = [graded({"01": 5, "02": 5}), graded({"01": 5, "02": 5}), graded({"03": 2})]
        students = [graded({"01": 6, "02": 5}), graded({"01": 8, "02": 4}), graded({"03": 9})]
        by_actor = measure_gain(students, controls)["by_actor_pp"]
        assert by_actor == pytest.approx({"01": 20, "02": -5, "03": 70})

    def test_runs_are_paired(self):
        with pytest.raises(ValueError, match="zip"):
            measure_gain([graded({"01": 5})], [])
        with pytest.raises(ValueError, match="same clips"):
            measure_gain([graded({"01": 5})], [graded({"02": 5})])


class TestWilcoxon:
    @pytest.mark.parametrize(
        ("gains", "expected"),
        [
            # There are 2^n signs of n actors. Those with a rank sum as extreme are counted, on both sides.
            ([1, 2, 3, 4], 2 / 16),
            ([-1, -2, -3, -4], 2 / 16),
            ([-1, 2, 3, 4], 4 / 16),
            ([1, 2, 3, 4, 5], 2 / 32),
            ([1, 1, 1, 1], 2 / 16),
            ([0, 1, 2, 1], 2 / 8),
            ([0, -1, -2, 3, 4], 12 / 16),  # the zero has rank 1, the losses 2 and 3
            ([0, 0, 0, 1], 1.0),
            ([0, 0, 0, 0], 1.0),
            ([1], 1.0),
            ([0], 1.0),
        ],
        ids=str,
    )
    def test_p_value_calculated_by_hand(self, gains, expected):
        control = graded({f"{index:02d}": 5 for index in range(len(gains))})
        student = graded({f"{index:02d}": 5 + gain for index, gain in enumerate(gains)})
        assert measure_gain([student], [control])["p"] == pytest.approx(expected)

    def test_rounding_errors_do_not_break_ties(self):
        """Means of 0.1, 0.2 and 0.3 in different orders differ in the last bit."""
        orders = ([6, 7, 8], [8, 7, 6], [7, 8, 6], [6, 8, 7])
        controls = [graded({f"{index:02d}": 5 for index in range(4)})] * 3
        students = [graded({f"{index:02d}": order[seed] for index, order in enumerate(orders)}) for seed in range(3)]
        assert measure_gain(students, controls)["p"] == pytest.approx(2 / 16)


def test_holm_correction_calculated_by_hand():
    # In order 0.005, 0.01, 0.03, 0.04: 4 * 0.005, 3 * 0.01, 2 * 0.03, then 1 * 0.04, which may not be below 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrected_p_values_are_between_raw_and_bonferroni_and_in_the_same_order(p_values):
    corrected = holm(p_values)
    for raw, one in zip(p_values, corrected, strict=True):
        assert raw <= one <= max(min(1, len(p_values) * raw), raw) + 1e-12
    assert min(corrected) == pytest.approx(min(1, len(p_values) * min(p_values)))
    assert [corrected[index] for index in np.argsort(p_values)] == sorted(corrected)


class TestMeanGain:
    def test_mean_over_comparisons_with_different_classes_and_actors(self):
        """Gains of 10 and 30 points, and of 20 for the first actor in a pair with other classes."""
        pairs = [(actors(6, 8), actors(5, 5)), (actors(7, classes=6), actors(5, classes=6))]
        found = mean_gain(pairs)
        assert found["gain_pp"] == pytest.approx((20 + 20) / 2)
        assert found["by_actor_pp"] == {"01": pytest.approx((10 + 20) / 2), "02": pytest.approx(30)}

    def test_the_interval_uses_the_same_draws_for_all_comparisons(self):
        rng = np.random.default_rng(3)
        gains = np.array([10, 0, 30, -10, 20])
        ours, theirs = actors(*(5 + gains // 10)), actors(*[5] * 5)
        drawn = rng.choice(gains, size=(20_000, 5)).mean(axis=1)
        found = mean_gain([(ours, theirs), (ours, theirs)])
        assert found["ci95_pp"] == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.7)

    def test_p_value_of_the_means_of_the_actors(self):
        first = (actors(6, 7, 8, 9, 6, 5, 7), actors(5, 5, 5, 5, 5, 6, 5))
        second = (actors(5, 5, 6, 5, 5, 5, 5), actors(5, 5, 5, 5, 5, 5, 6))
        means = [5, 10, 20, 20, 5, -5, 5]
        assert mean_gain([first, second])["p"] == pytest.approx(wilcoxon(means, zero_method="pratt").pvalue)

    def test_tiny_gains_are_ranked(self):
        ours, theirs = (
            {str(actor): right([500 + sign * actor] * 4, clips=1000) for actor in range(1, 7)} for sign in (1, 0)
        )
        assert mean_gain([(ours, theirs)])["p"] == pytest.approx(2 / 2**6)

    def test_an_actor_on_one_side_only_has_no_gain(self):
        found = mean_gain([(actors(6, 7, 9), actors(5, 5))])
        assert found["by_actor_pp"] == {"01": pytest.approx(10), "02": pytest.approx(20)}
        assert found["actors"] == 2

    @pytest.mark.parametrize(("hits", "interval"), [((5,), None), ((5, 6), None), ((5, 6, 7), (0, 0))])
    def test_no_gain(self, hits, interval):
        found = mean_gain([(actors(*hits), actors(*hits))])
        assert (found["gain_pp"], found["ci95_pp"], found["p"]) == (0, interval, 1)

    def test_the_interval_needs_three_actors_with_a_gain(self):
        assert mean_gain([(actors(6, 7, 9), actors(5, 5))])["ci95_pp"] is None
        assert mean_gain([(actors(6, 7, 9), actors(5, 5, 5))])["ci95_pp"] is not None

    @pytest.mark.filterwarnings("error")
    def test_a_draw_without_actors_of_a_comparison_ignores_it(self):
        first = actors(8, 8), actors(5, 5)
        second = tuple({"03": right([hits] * 4), "04": right([hits] * 4)} for hits in (9, 6))
        found = mean_gain([first, second])
        assert found["gain_pp"] == pytest.approx(30)
        assert found["ci95_pp"] == pytest.approx((30, 30))


@pytest.mark.parametrize(
    ("p", "interval", "expected"),
    [
        (0.04, (0.1, 3.0), "more"),
        (0.04, (-3.0, -0.1), "less"),
        (0.05, (0.1, 3.0), "open"),
        (0.04, (-0.1, 3.0), "open"),
        (0.04, (-3.0, 0.1), "open"),
        (0.04, None, "open"),
        (0.04, (0.0, 3.0), "open"),
        (0.04, (-3.0, 0.0), "open"),
    ],
)
def test_a_claim_needs_test_and_interval(p, interval, expected):
    assert decide({"gain_pp": 1.0, "ci95_pp": interval, "p": p, "actors": 8, "by_actor_pp": {}}) == expected


def study_without_effect(rng: np.random.Generator, num_actors: int, pairs: int) -> list:
    """Simulate actors with different difficulties and gains, but a mean gain of zero."""
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
    decisions = [decide(mean_gain(study_without_effect(rng, num_actors, pairs))) for _ in range(cases)]
    return decisions.count("more") / cases


def test_false_claims_are_rare(monkeypatch):
    monkeypatch.setattr(metrics, "RESAMPLES", 500)
    assert share_of_claims(200, num_actors=16, pairs=1) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("num_actors", "pairs"), [(24, 1), (16, 1), (6, 1), (24, 5)])
def test_at_most_5_of_100_studies_have_a_false_claim(num_actors, pairs, monkeypatch):
    monkeypatch.setattr(metrics, "RESAMPLES", 1000)
    assert share_of_claims(1000, num_actors, pairs) <= 0.05


def test_a_true_effect_is_claimed():
    ours, theirs = (actors(*hits) for hits in ((7, 8, 6, 7, 8, 9, 6, 7), (5, 6, 5, 6, 5, 6, 5, 5)))
    assert decide(mean_gain([(ours, theirs)])) == "more"
    assert decide(mean_gain([(theirs, ours)])) == "less"
