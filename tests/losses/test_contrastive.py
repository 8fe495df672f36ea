import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.losses import CrossModalSupConLoss

LABEL = torch.tensor([0, 1, 0, -1, 2, 1, -1, 0])


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(8, 5, generator=generator, dtype=torch.float64) for _ in range(2))


def naive_supcon(student, teacher, label, temperature):
    student, teacher = ([row / np.linalg.norm(row) for row in rows] for rows in (student, teacher))
    total = 0.0
    for i, s in enumerate(student):
        powers = [math.exp(s @ t / temperature) for t in teacher]
        positives = [p for p in range(len(teacher)) if p == i or (label[p] == label[i] and label[i] >= 0)]
        total += sum(-math.log(powers[p] / sum(powers)) for p in positives) / len(positives)
    return total / len(student)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_supcon_equals_a_naive_loop(embeddings, temperature):
    expected = naive_supcon(*(e.numpy() for e in embeddings), LABEL.tolist(), temperature)
    assert CrossModalSupConLoss(temperature)(*embeddings, LABEL).item() == pytest.approx(expected)


def test_without_labels_it_is_the_contrastive_loss_of_pairs(embeddings):
    """Compare with the cross-entropy whose target is the clip's own face."""
    student, teacher = (torch.nn.functional.normalize(e, dim=1) for e in embeddings)
    expected = torch.nn.functional.cross_entropy(student @ teacher.T / 0.1, torch.arange(8))
    torch.testing.assert_close(CrossModalSupConLoss()(*embeddings, torch.full((8,), -1)), expected)


def test_faces_of_the_same_class_are_positives(embeddings):
    _, teacher = embeddings
    label = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    swapped = teacher[[1, 0, 3, 2, 5, 4, 7, 6]]
    loss = CrossModalSupConLoss()
    torch.testing.assert_close(loss(swapped, teacher, label), loss(teacher, teacher, label))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 12), shift=st.integers(1, 11))
def test_correct_pairs_have_a_lower_loss(seed, size, shift):
    teacher = torch.randn(size, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    wrong = teacher.roll(1 + shift % (size - 1), dims=0)
    loss, label = CrossModalSupConLoss(), torch.arange(size)
    assert loss(teacher, teacher, label) < loss(wrong, teacher, label)


def test_loss_ignores_the_norm_of_embeddings(embeddings):
    student, teacher = embeddings
    lengths = torch.linspace(0.1, 10, 8, dtype=torch.float64)[:, None]
    loss = CrossModalSupConLoss()
    expected = loss(student, teacher, LABEL)
    torch.testing.assert_close(loss(lengths * student, lengths.flip(0) * teacher, LABEL), expected)
