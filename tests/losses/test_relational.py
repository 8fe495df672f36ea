import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.losses import RKDLoss
from tests.losses import value_and_gradient


def draw(seed, *widths, size=6):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(size, width, generator=generator, dtype=torch.float64) for width in widths)


def smooth_l1(difference):
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def naive_rkd_distance(student, teacher):
    pairs = list(itertools.combinations(range(len(student)), 2))
    distances = [np.array([np.linalg.norm(x[i] - x[j]) for i, j in pairs]) for x in (student, teacher)]
    s, t = (d / d.mean() for d in distances)
    return np.mean([smooth_l1(d) for d in s - t])


def naive_rkd_angle(student, teacher):
    def cosine(x, i, j, k):
        first, second = x[i] - x[j], x[k] - x[j]
        sides = np.linalg.norm(first) * np.linalg.norm(second)
        return first @ second / sides if sides else 0.0

    triples = list(itertools.permutations(range(len(student)), 3))
    return np.mean([smooth_l1(cosine(student, *triple) - cosine(teacher, *triple)) for triple in triples])


@pytest.mark.parametrize("widths", [(4, 4), (3, 7)])
def test_rkd_equals_a_naive_loop(widths):
    student, teacher = draw(0, *widths)
    arrays = student.numpy(), teacher.numpy()
    distance, angle = naive_rkd_distance(*arrays), naive_rkd_angle(*arrays)
    assert min(distance, angle) > 0.01
    assert RKDLoss(1, 0)(student, teacher).item() == pytest.approx(distance)
    assert RKDLoss(0, 1)(student, teacher).item() == pytest.approx(angle)
    assert RKDLoss()(student, teacher).item() == pytest.approx(distance + 2 * angle)


def test_rkd_angle_between_identical_embeddings_is_zero():
    student, teacher = draw(0, 4, 4)
    student = student[[0, 0, 1, 2, 3, 4]]
    expected = naive_rkd_angle(student.numpy(), teacher.numpy())
    assert RKDLoss(0, 1)(student, teacher).item() == pytest.approx(expected)


def test_rkd_is_accurate_for_close_embeddings_far_from_zero():
    """In single precision and a typical batch size, distances computed from inner products would be noise."""
    student, teacher = (x.float() for x in draw(0, 4, 4, size=32))
    student = 1000 + 0.1 * student
    expected = RKDLoss()(student.double(), teacher.double())
    assert RKDLoss()(student, teacher).item() == pytest.approx(expected.item(), rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(0.01, 100),
    size=st.integers(2, 12),
    widths=st.tuples(st.integers(2, 8), st.integers(1, 8)),
)
def test_loss_is_invariant_to_rotation_translation_and_scale(seed, scale, size, widths):
    student, teacher = draw(seed, *widths, size=size)
    (matrix, place) = draw(seed + 1, widths[0], 1, size=widths[0])
    rotation, _ = torch.linalg.qr(matrix)
    changed = scale * student @ rotation + place.T
    torch.testing.assert_close(RKDLoss()(changed, teacher), RKDLoss()(student, teacher), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "rows", [[0, 0, 0, 0], [0, 0, 1, 2], [0, 0, 1, 1]], ids=["one place", "two clips", "two pairs"]
)
@pytest.mark.parametrize("of", ["student", "teacher", "both"])
def test_identical_embeddings_have_finite_gradients(rows, of):
    student, teacher = draw(3, 4, 4, size=4)
    student = student[rows] if of != "teacher" else student
    teacher = teacher[rows] if of != "student" else teacher
    assert value_and_gradient(RKDLoss(), student, teacher)[1].abs().max() < 1e3


@pytest.mark.parametrize("widths", [(4, 4), (3, 7)])
def test_rkd_of_two_clips_is_zero(widths):
    student, teacher = draw(0, *widths, size=2)
    assert RKDLoss()(student, teacher).item() == pytest.approx(0, abs=1e-12)
