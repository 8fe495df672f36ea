import numpy as np
import pytest
import torch

from crossmodal.losses import CosineAlignmentLoss, FrequencyMSELoss, SharedClassifierLoss, StandardizedMSELoss
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


def naive_bands(row, low_share):
    """Compute both bands of one embedding from sums of sines and cosines, without the mean."""
    width = len(row)
    waves = range(1, width // 2 + 1)
    bands = np.zeros((2, width))
    for wave in waves:
        phase = 2 * np.pi * wave * np.arange(width) / width
        share = 1 if 2 * wave == width else 2  # every wave but the last also represents its mirror image
        part = share / width * ((row @ np.cos(phase)) * np.cos(phase) + (row @ np.sin(phase)) * np.sin(phase))
        bands[0 if wave <= low_share * len(waves) else 1] += part
    return bands


@pytest.mark.parametrize("width, low_share", [(16, 0.5), (16, 0.25), (12, 0.5), (13, 0.5), (11, 0.5), (4, 0.5)])
def test_frequency_mse_equals_a_naive_transform(width, low_share):
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(7, width, generator=generator, dtype=torch.float64) for _ in range(2))
    total = np.zeros(2)
    for pair in zip(student.numpy(), teacher.numpy(), strict=True):
        (s_low, s_high), (t_low, t_high) = (naive_bands(row, low_share) for row in pair)
        s_low, s_high, t_low, t_high = (x / x.std() for x in (s_low, s_high, t_low, t_high))
        s_log, t_log = ([np.log(1 + v) if v > 0 else -np.log(1 - v) for v in high] for high in (s_high, t_high))
        total += [np.mean((s_low - t_low) ** 2), np.mean(np.subtract(s_log, t_log) ** 2)]
    low, high = total / len(student)
    loss = FrequencyMSELoss(low_share, high_weight=0.3)
    assert loss(student, teacher).item() == pytest.approx(low + 0.3 * high, rel=1e-3)


def test_both_bands_have_the_same_default_weight(embeddings):
    without, one, two = (FrequencyMSELoss(high_weight=weight)(*embeddings) for weight in (0.0, 1.0, 2.0))
    torch.testing.assert_close(FrequencyMSELoss()(*embeddings), one)
    torch.testing.assert_close(two - one, one - without)


def test_frequency_mse_ignores_scale_offset_and_band_energy():
    steps = torch.arange(32.0)
    slow, fast = torch.cos(2 * torch.pi * 2 * steps / 32)[None], torch.cos(2 * torch.pi * 15 * steps / 32)[None]
    assert FrequencyMSELoss()(5 * slow + 0.5 * fast + 3, slow + fast).item() < 1e-3


def test_extreme_shares_leave_one_band(embeddings):
    student, teacher = embeddings
    one, other = ((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) for x in (student.numpy(), teacher.numpy()))
    expected = np.mean((one - other) ** 2)
    assert FrequencyMSELoss(low_share=1.0)(student, teacher).item() == pytest.approx(expected, rel=1e-3)
    assert FrequencyMSELoss(low_share=0.0, high_weight=0.0)(student, teacher).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("low_share", [-0.1, 1.5, float("nan")])
def test_an_invalid_share_is_a_value_error(low_share):
    with pytest.raises(ValueError, match="low_share"):
        FrequencyMSELoss(low_share)


@pytest.fixture
def labelled(embeddings):
    label = torch.arange(32) % 8
    label[::5] = -1
    return *embeddings, label


def test_shared_classifier_equals_a_naive_loop(labelled):
    loss = SharedClassifierLoss(5, 8).double()
    weight, bias = (x.detach().numpy() for x in (loss.classifier.weight, loss.classifier.bias))
    student, teacher, label = labelled
    total, clips = 0.0, 0
    for s, t, class_index in zip(student.double().numpy(), teacher.double().numpy(), label.tolist(), strict=True):
        if class_index >= 0:
            clips += 1
            for row in (s, t):
                scores = weight @ row + bias
                total -= np.log(np.exp(scores[class_index]) / np.exp(scores).sum())
    assert loss(student.double(), teacher.double(), label).item() == pytest.approx(total / clips)


def test_shared_classifier_has_no_gradient_for_the_teacher(labelled):
    student, teacher, label = labelled
    student, teacher = student.clone().requires_grad_(), teacher.clone().requires_grad_()
    loss = SharedClassifierLoss(5, 8)
    loss(student, teacher, label).backward()
    assert teacher.grad is None
    assert (student.grad.abs().sum(dim=1) > 0).tolist() == (label >= 0).tolist()
    both = loss.classifier.weight.grad.clone()
    loss.zero_grad()
    loss(student.detach(), torch.zeros_like(teacher), label).backward()
    assert not torch.allclose(loss.classifier.weight.grad, both)
