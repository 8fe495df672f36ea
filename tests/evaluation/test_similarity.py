import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import cohen_kappa_score, r2_score
from sklearn.preprocessing import StandardScaler

from crossmodal.evaluation.similarity import (
    RIDGE_STRENGTHS,
    center_by_group,
    cohen_kappa,
    linear_cka,
    mean_entropy,
    mutual_knn,
    non_target_divergence,
    r2,
    residualize,
    ridge_r2,
    shuffled,
)

seeds = st.integers(0, 10_000)
sizes = st.integers(2, 40)
widths = st.integers(1, 8)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def rotation(seed, size):
    return np.linalg.qr(normal(seed, size, size))[0]


def naive_cka(first, second):
    """Compute CKA from the centred kernels with plain loops."""
    n = len(first)
    centring = np.eye(n) - 1 / n
    kernels = [centring @ np.array([[a @ b for b in side] for a in side]) @ centring for side in (first, second)]
    hsic = [[sum((one * other).ravel()) for other in kernels] for one in kernels]
    return hsic[0][1] / np.sqrt(hsic[0][0] * hsic[1][1])


def naive_neighbours(embedding, clip, k):
    centred = embedding - embedding.mean(axis=0)
    cosine = [centred[clip] @ row / (np.linalg.norm(centred[clip]) * np.linalg.norm(row)) for row in centred]
    others = [other for other in range(len(embedding)) if other != clip]
    return set(sorted(others, key=lambda other: -cosine[other])[:k])


class TestCKA:
    @given(seeds, st.integers(3, 20), widths, widths)
    def test_matches_the_kernel_definition(self, seed, n, one, other):
        first, second = normal(seed, n, one) + 3, normal(seed + 1, n, other)
        assert linear_cka(first, second) == pytest.approx(naive_cka(first, second))

    @given(seeds, st.integers(3, 30), widths, st.floats(0.1, 10), st.floats(-5, 5))
    def test_invariance_to_rotation_scale_and_shift(self, seed, n, width, scale, shift):
        first, second = normal(seed, n, width), normal(seed + 1, n, 3)
        turned = scale * first @ rotation(seed, width) + shift
        assert linear_cka(turned, second) == pytest.approx(linear_cka(first, second), abs=1e-9)
        assert linear_cka(first, turned) == pytest.approx(1)
        assert linear_cka(first, second) == pytest.approx(linear_cka(second, first))
        assert -1e-9 <= linear_cka(first, second) <= 1 + 1e-9

    def test_a_constant_side_gives_zero(self):
        assert linear_cka(np.ones((5, 2)), normal(0, 5, 3)) == 0


class TestMutualNeighbours:
    @given(seeds, st.integers(3, 20), st.integers(1, 25))
    def test_matches_a_loop(self, seed, n, k):
        first, second = normal(seed, n, 3) + 2, normal(seed + 1, n, 4)
        k_used = min(k, n - 1)
        both = ([naive_neighbours(side, clip, k_used) for clip in range(n)] for side in (first, second))
        shares = [len(one & other) / k_used for one, other in zip(*both, strict=True)]
        assert mutual_knn(first, second, k) == pytest.approx(np.mean(shares))
        assert mutual_knn(first, first, k) == 1

    def test_value_by_chance(self):
        first, second = normal(0, 200, 10), normal(1, 200, 10)
        assert shuffled(lambda a, b: mutual_knn(a, b, 10), first, second) == pytest.approx(10 / 199, abs=0.01)
        assert mutual_knn(first, first + 0.01 * second, 10) > 0.9

    def test_one_clip(self):
        assert mutual_knn(normal(0, 1, 3), normal(1, 1, 3)) == 0


class TestShuffled:
    @given(seeds, st.lists(st.integers(0, 3), min_size=1, max_size=30))
    def test_clips_are_permuted_within_their_class(self, seed, classes):
        within, rows = np.array(classes), np.arange(len(classes), dtype=float)[:, None]

        def check(first, second):
            order = first[:, 0].astype(int)
            assert sorted(order) == list(range(len(classes)))
            assert (within[order] == within[second[:, 0].astype(int)]).all()
            return 1.0

        assert shuffled(check, rows, rows, within, draws=3, seed=seed) == 1

    def test_mean_over_different_derangements(self):
        rows, met = np.arange(12.0)[:, None], []

        def first_partner(first, second):
            assert (first != second).all()
            met.append(tuple(first[:, 0]))
            return float(first[0, 0])

        value = shuffled(first_partner, rows, rows, np.repeat([0, 1, 2], 4), draws=40)
        assert value == pytest.approx(np.mean([order[0] for order in met]))
        assert len(set(met)) > 30
        assert {order[0] for order in met} == {1, 2, 3}

    def test_a_clip_alone_in_its_class_keeps_its_pair(self):
        first, second = normal(0, 8, 3), normal(1, 8, 3)
        assert shuffled(linear_cka, first, second, np.arange(8)) == pytest.approx(linear_cka(first, second))


class TestNonTargetDivergence:
    @given(seeds, sizes, st.integers(3, 8))
    def test_matches_a_loop(self, seed, n, num_classes):
        teacher, student = 3 * normal(seed, n, num_classes), normal(seed + 1, n, num_classes)
        targets = np.random.default_rng(seed).integers(0, num_classes, n)
        total = 0.0
        for clip in range(n):
            others = [name for name in range(num_classes) if name != targets[clip]]
            p, q = (np.exp(logits[clip][others]) / np.exp(logits[clip][others]).sum() for logits in (teacher, student))
            total += sum(p[name] * np.log(p[name] / q[name]) for name in range(len(others)))
        assert non_target_divergence(teacher, student, targets) == pytest.approx(total / n)

    @given(seeds, sizes)
    def test_target_logit_and_shift_are_ignored(self, seed, n):
        teacher, student = normal(seed, n, 5), normal(seed + 1, n, 5)
        targets = np.random.default_rng(seed).integers(0, 5, n)
        value = non_target_divergence(teacher, student, targets)
        louder = teacher + 4
        louder[np.arange(n), targets] += 100
        assert non_target_divergence(louder, student, targets) == pytest.approx(value, abs=1e-9)
        assert value >= 0
        assert non_target_divergence(louder, teacher, targets) == pytest.approx(0, abs=1e-9)


def test_range_of_the_entropy():
    assert mean_entropy(np.array([[1000.0, 0, 0, 0]])) == pytest.approx(0)
    assert mean_entropy(np.zeros((3, 4))) == pytest.approx(np.log(4))
    expected = -(np.log(0.5) + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)) / 2
    assert mean_entropy(np.log([[0.5, 0.5], [0.9, 0.1]])) == pytest.approx(expected)


class TestKappa:
    @given(seeds, sizes, st.integers(2, 5))
    def test_matches_sklearn(self, seed, n, num_classes):
        rng = np.random.default_rng(seed)
        first = np.concatenate([rng.integers(0, num_classes, n), [0, 1]])
        second = np.where(rng.random(n + 2) < 0.5, first, rng.integers(0, num_classes, n + 2))
        assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))

    def test_one_constant_class_gives_zero(self):
        assert cohen_kappa(np.zeros(4, int), np.zeros(4, int)) == 0


def people(seed, n, width, dimensions, noise=0.5):
    """Create features of clips of three people and targets that depend on them."""
    x = normal(seed, n, width) * np.arange(1, width + 1) + 5
    y = x @ normal(99, width, dimensions) / np.sqrt(width) + noise * normal(seed + 1, n, dimensions)
    return x, y, [f"{clip % 3:02d}" for clip in range(n)]


def naive_ridge_r2(x, y, groups, new_x, new_y, strengths):
    """Compute R^2 with scikit-learn's ridge and a loop over people and dimensions to choose the strength."""
    groups, scores = np.array(groups), []
    for dimension in range(y.shape[1]):

        def fitted(rows, to, strength, column=y[:, dimension]):
            scaler = StandardScaler().fit(x[rows])
            model = Ridge(alpha=strength * x.shape[1]).fit(scaler.transform(x[rows]), column[rows])
            return model.predict(scaler.transform(to))

        def error(strength, fitted=fitted, column=y[:, dimension]):
            return sum(
                ((fitted(groups != name, x[groups == name], strength) - column[groups == name]) ** 2).sum()
                for name in set(groups)
            )

        best = min(strengths, key=error)
        scores.append(r2_score(new_y[:, dimension], fitted(np.full(len(x), True), new_x, best)))
    return scores


class TestRidge:
    @pytest.mark.parametrize("width", [4, 60], ids=["more clips", "more features"])
    def test_matches_sklearn_with_a_loop_over_people(self, width):
        x, y, groups = people(0, 30, width, 3)
        new_x, new_y, _ = people(5, 12, width, 3)
        strengths = (0.01, 0.3, 10.0)
        expected = naive_ridge_r2(x, y, groups, new_x, new_y, strengths)
        assert ridge_r2(x, y, groups, new_x, new_y, strengths) == pytest.approx(expected, rel=1e-6)

    def test_many_noisy_features_are_regularized(self):
        x, new_x = normal(0, 60, 300), normal(1, 60, 300)
        groups = [f"{clip % 6:02d}" for clip in range(60)]
        noise = normal(2, 60, 20), groups, new_x, normal(3, 60, 20)
        assert np.median(ridge_r2(x, *noise)) > -0.1
        assert np.median(ridge_r2(x, *noise, strengths=(1e-3,))) < -0.2
        assert max(RIDGE_STRENGTHS) >= 1e4

    def test_constant_features_and_constant_targets(self):
        x, y, groups = people(0, 30, 4, 2)
        new_x, new_y, _ = people(5, 12, 4, 2)
        new_y[:, 1] = 3.0
        scores = ridge_r2(x, y, groups, new_x, new_y)
        assert np.isnan(scores[1])
        padded, new_padded = (np.hstack([these, np.full((len(these), 1), 8.0)]) for these in (x, new_x))
        # The constant feature only changes the number of features, which scales the strength.
        scaled = tuple(strength * 4 / 5 for strength in RIDGE_STRENGTHS)
        assert ridge_r2(padded, y, groups, new_padded, new_y, scaled)[0] == pytest.approx(scores[0])

    def test_one_group_is_an_error(self):
        x, y, _ = people(0, 9, 2, 1)
        with pytest.raises(ValueError, match="group"):
            ridge_r2(x, y, ["01"] * 9, x, y)

    @given(seeds, sizes, widths)
    def test_r2_matches_sklearn(self, seed, n, width):
        true, predicted = normal(seed, n, width), normal(seed + 1, n, width)
        assert r2(predicted, true) == pytest.approx(r2_score(true, predicted, multioutput="raw_values"))


@given(seeds, st.lists(st.sampled_from(["01", "02", "03"]), min_size=1, max_size=20))
def test_center_by_group_has_zero_means(seed, groups):
    values = normal(seed, len(groups), 2) + 4
    left = center_by_group(values, groups)
    for row, name in enumerate(groups):
        same = [other for other, group in enumerate(groups) if group == name]
        assert left[row] == pytest.approx(values[row] - sum(values[other] for other in same) / len(same))


def test_residualize_removes_class_means():
    y, classes = np.array([[1.0], [3.0], [10.0]]), np.array([0, 0, 1])
    rest, new_rest = residualize(y, classes, np.array([[5.0], [5.0], [5.0]]), np.array([0, 1, 7]))
    assert rest.ravel().tolist() == [-1, 1, 0]
    assert new_rest.ravel() == pytest.approx([3, -5, 5 - 14 / 3])
