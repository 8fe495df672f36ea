import numpy as np
import pytest
import torch

from crossmodal.losses import CosineAlignmentLoss, StandardizedMSELoss
from tests.losses import value_and_gradient


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    return 2 + 3 * torch.randn(32, 5, generator=generator), torch.randn(32, 5, generator=generator)


def test_standardized_mse_equals_numpy(embeddings):
    standardized = [(x - x.mean(axis=0)) / x.std(axis=0) for x in (e.double().numpy() for e in embeddings)]
    expected = np.mean((standardized[0] - standardized[1]) ** 2)
    assert StandardizedMSELoss(5)(*embeddings).item() == pytest.approx(expected, rel=1e-4)


def test_standardized_mse_ignores_scale_and_offset(embeddings):
    _, teacher = embeddings
    scale = torch.tensor([1.0, 2.0, 10.0, 0.5, 3.0])
    assert StandardizedMSELoss(5)(scale * teacher - 7, teacher).item() < 1e-3


def test_standardized_mse_in_evaluation_does_not_depend_on_the_batch(embeddings):
    student, teacher = embeddings
    loss = StandardizedMSELoss(5)
    for _ in range(50):
        loss(student, teacher)
    loss.eval()
    alone = torch.stack([loss(student[i : i + 1], teacher[i : i + 1]) for i in range(len(student))])
    torch.testing.assert_close(loss(student, teacher), alone.mean())


def test_standardized_mse_of_one_clip_does_not_update_the_statistics(embeddings):
    loss = StandardizedMSELoss(5)
    value_and_gradient(loss, *(e[:1] for e in embeddings))
    assert torch.equal(loss.student_norm.running_mean, torch.zeros(5))


def test_cosine_equals_a_naive_loop(embeddings):
    student, teacher = (e.double().numpy() for e in embeddings)
    cosines = [s @ t / np.linalg.norm(s) / np.linalg.norm(t) for s, t in zip(student, teacher, strict=True)]
    assert CosineAlignmentLoss()(*embeddings).item() == pytest.approx(1 - np.mean(cosines), rel=1e-5)
