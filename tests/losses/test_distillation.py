import math

import numpy as np
import pytest
import torch

from crossmodal.losses import DISTLoss, KnowledgeDistillationLoss, LogitStandardizedKDLoss
from tests.losses import value_and_gradient

LOSSES = [KnowledgeDistillationLoss, LogitStandardizedKDLoss, DISTLoss]


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return tuple(3 * torch.randn(6, 8, generator=generator, dtype=torch.float64) for _ in range(2))


def softmax(row, temperature):
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def naive_kd(student, teacher, temperature):
    total = 0.0
    for s_row, t_row in zip(student, teacher, strict=True):
        for s, t in zip(softmax(s_row, temperature), softmax(t_row, temperature), strict=True):
            total += t * math.log(t / s)
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kd_equals_a_naive_loop(logits, temperature):
    student, teacher = logits
    expected = naive_kd(student.tolist(), teacher.tolist(), temperature)
    assert KnowledgeDistillationLoss(temperature)(student, teacher).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_logit_standardized_kd_equals_a_naive_loop_on_z_scores(logits, temperature):
    student, teacher = (x.numpy() for x in logits)
    z_scores = [(x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True) for x in (student, teacher)]
    expected = naive_kd(*z_scores, temperature)
    assert LogitStandardizedKDLoss(temperature)(*logits).item() == pytest.approx(expected, rel=1e-6)


def test_dist_equals_numpy_correlations(logits):
    student, teacher = (np.array([softmax(row, 2.0) for row in x.tolist()]) for x in logits)
    inter = np.mean([1 - np.corrcoef(s, t)[0, 1] for s, t in zip(student, teacher, strict=True)])
    intra = np.mean([1 - np.corrcoef(s, t)[0, 1] for s, t in zip(student.T, teacher.T, strict=True)])
    loss = DISTLoss(inter_weight=0.7, intra_weight=0.2, temperature=2.0)
    assert loss(*logits).item() == pytest.approx(4 * (0.7 * inter + 0.2 * intra))


def test_gradients_do_not_depend_on_a_high_temperature(logits):
    """For T >> logits, the gradient tends to (s - t) / (B K) of centred logits for any T (Hinton et al., eq. 4)."""
    student, teacher = (x - x.mean(dim=1, keepdim=True) for x in logits)
    for temperature in (200.0, 2000.0):
        x = student.clone().requires_grad_()
        KnowledgeDistillationLoss(temperature)(x, teacher).backward()
        torch.testing.assert_close(x.grad, (student - teacher) / student.numel(), atol=1e-3, rtol=0.05)


def test_default_weights_are_those_of_the_papers_code(logits):
    torch.testing.assert_close(DISTLoss()(*logits), DISTLoss(1.0, 1.0, 1.0)(*logits))


def test_invariances_of_each_loss(logits):
    _, teacher = logits
    assert KnowledgeDistillationLoss()(teacher + 5, teacher).item() == pytest.approx(0, abs=1e-9)
    assert LogitStandardizedKDLoss()(3 * teacher + 5, teacher).item() == pytest.approx(0, abs=1e-9)
    assert KnowledgeDistillationLoss()(3 * teacher, teacher).item() > 0.1


@pytest.mark.parametrize("make", LOSSES)
@pytest.mark.parametrize(
    "student, teacher",
    [
        (torch.randn(4, 8), torch.zeros(4, 8)),
        (1e4 * torch.randn(4, 8), 1e4 * torch.randn(4, 8)),
        (1e-8 * torch.randn(4, 8), torch.randn(4, 8)),
    ],
    ids=["equal teacher logits", "huge", "tiny"],
)
def test_degenerate_logits_give_finite_loss_and_gradient(make, student, teacher):
    value_and_gradient(make(), student, teacher)
