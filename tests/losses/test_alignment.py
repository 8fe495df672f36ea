import numpy as np
import pytest
import torch

from crossmodal.losses import CosineAlignmentLoss, StandardizedMSELoss


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    return 2 + 3 * torch.randn(32, 5, generator=generator), torch.randn(32, 5, generator=generator)


def test_standardized_mse_equals_numpy(embeddings):
    standardized = [(x - x.mean(axis=0)) / x.std(axis=0) for x in (e.double().numpy() for e in embeddings)]
    expected = np.mean((standardized[0] - standardized[1]) ** 2)
    assert StandardizedMSELoss(5)(*embeddings).item() == pytest.approx(expected, rel=1e-4)


def test_standardized_mse_does_not_see_scale_and_offset(embeddings):
    _, teacher = embeddings
    scale = torch.tensor([1.0, 2.0, 10.0, 0.5, 3.0])
    assert StandardizedMSELoss(5)(scale * teacher - 7, teacher).item() < 1e-3


def test_standardized_mse_in_evaluation_depends_on_no_neighbour(embeddings):
    student, teacher = embeddings
    loss = StandardizedMSELoss(5)
    for _ in range(50):
        loss(student, teacher)
    loss.eval()
    alone = torch.stack([loss(student[i : i + 1], teacher[i : i + 1]) for i in range(len(student))])
    torch.testing.assert_close(loss(student, teacher), alone.mean())


def test_standardized_mse_of_one_clip_in_training_is_finite_and_leaves_the_statistics(embeddings):
    student, teacher = (e[:1].clone().requires_grad_() for e in embeddings)
    loss = StandardizedMSELoss(5)
    value = loss(student, teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert torch.equal(loss.student_norm.running_mean, torch.zeros(5))


def test_cosine_equals_a_naive_loop(embeddings):
    student, teacher = (e.double().numpy() for e in embeddings)
    cosines = [s @ t / np.linalg.norm(s) / np.linalg.norm(t) for s, t in zip(student, teacher, strict=True)]
    assert CosineAlignmentLoss()(*embeddings).item() == pytest.approx(1 - np.mean(cosines), rel=1e-5)


def test_cosine_by_hand():
    student = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    teacher = torch.tensor([[-5.0, 0.0], [0.0, 0.1]])
    assert CosineAlignmentLoss()(student, teacher).item() == pytest.approx((2 + 0) / 2)


def test_a_zero_embedding_has_a_finite_gradient():
    student = torch.zeros(2, 3, requires_grad=True)
    CosineAlignmentLoss()(student, torch.randn(2, 3)).backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("loss", [StandardizedMSELoss(5), CosineAlignmentLoss()], ids=["mse", "cosine"])
def test_gradient_flows_to_the_student_and_never_to_the_teacher(loss, embeddings):
    student, teacher = (e.clone().requires_grad_() for e in embeddings)
    loss(student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
