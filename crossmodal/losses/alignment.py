"""Feature-based distillation between student and teacher embeddings of the same width."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.batch import UNLABELLED


class StandardizedMSELoss(nn.Module):
    """Mean squared error between embeddings with standardized dimensions.

    ``mean((BN(s) - BN(t))^2)`` with batch normalization without learned parameters. Student and teacher must match in
    variation, not in scale. After FitNets (Romero et al., ICLR 2015, arXiv:1412.6550); standardizing the teacher
    follows Heo et al., "A Comprehensive Overhaul of Feature Distillation", ICCV 2019, arXiv:1904.01866.

    In evaluation mode, and for a batch of one clip, running statistics replace those of the batch.

    Args:
        num_features: Width of the embeddings.

    Examples:
        >>> teacher = torch.randn(16, 4)
        >>> StandardizedMSELoss(num_features=4)(3 * teacher + 1, teacher) < 1e-4
        tensor(True)
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.student_norm = nn.BatchNorm1d(num_features, affine=False)
        self.teacher_norm = nn.BatchNorm1d(num_features, affine=False)

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
        """Compute the loss, a scalar, from embeddings of shape (B, num_features), B at least 1."""
        student = _standardize(self.student_norm, student_embedding)
        teacher = _standardize(self.teacher_norm, teacher_embedding.detach())
        return F.mse_loss(student, teacher)


class FeatureRegressionLoss(nn.Module):
    """Mean squared error between the student's prediction and the teacher's input features, ``mean((s - t)^2)``.

    The targets are standardized over the training actors, so for each feature 1 minus the loss is the fraction of its
    variance that the voice explains. An auxiliary task improves the representation for the main task: Caruana,
    "Multitask learning", Machine Learning 28, 1997.
    """

    def forward(self, student_features: Tensor, teacher_features: Tensor) -> Tensor:
        """Compute the loss, a scalar, from features of shape (B, D), B at least 1."""
        return F.mse_loss(student_features, teacher_features.detach())


class CosineAlignmentLoss(nn.Module):
    """One minus the cosine similarity of embeddings, mean over the batch: ``mean_i(1 - cos(s[i], t[i]))``.

    Examples:
        >>> CosineAlignmentLoss()(torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 0.0]]))
        tensor(1.)
    """

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
        """Compute the loss, a scalar, from embeddings of shape (B, num_features), B at least 1."""
        return 1 - F.cosine_similarity(student_embedding, teacher_embedding.detach(), dim=1).mean()


class FrequencyMSELoss(nn.Module):
    """Mean squared error in the low frequencies of an embedding, and a weaker loss in the high frequencies.

    ``mean((Z(low(s)) - Z(low(t)))^2) + high_weight * mean((g(Z(high(s))) - g(Z(high(t))))^2)``: the discrete Fourier
    transform over the dimensions splits an embedding into a low and a high band, whose sum is the embedding; Z
    standardizes over the dimensions; ``g(x) = sign(x) * log(1 + |x|)`` reduces large differences. Liu et al.,
    "Distilling Cross-Modal Knowledge via Feature Disentanglement", AAAI 2026, arXiv:2511.19887: voice and face agree in
    the lower half of the spectrum. The paper's shared classifiers are in `SharedClassifierLoss`.

    The paper's code was not available. These details are ours: the mean is in neither band, and `low_share` is a
    fraction of the other frequencies; each band is standardized separately, after the split; it is divided by its
    standard deviation where the paper divides by its L2 norm, so that the logarithm receives values near 1 and the loss
    does not decrease with the width of the embeddings; both bands have the same weight by default. The dimensions of an
    embedding have no natural order; the teacher's order is used.

    Args:
        low_share: Fraction of the frequencies in the low band, from 0 to 1.
        high_weight: Weight of the high band relative to the low band.

    Raises:
        ValueError: If ``low_share`` is not from 0 to 1.

    Examples:
        >>> teacher = torch.randn(4, 16)
        >>> FrequencyMSELoss()(3 * teacher + 1, teacher) < 1e-3
        tensor(True)
    """

    def __init__(self, low_share: float = 0.5, high_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 <= low_share <= 1:
            raise ValueError(f"low_share must be from 0 to 1, got {low_share}.")
        self.low_share = low_share
        self.high_weight = high_weight

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
        """Compute the loss, a scalar, from embeddings of shape (B, num_features), B at least 1."""
        student_low, student_high = self._split(student_embedding)
        teacher_low, teacher_high = self._split(teacher_embedding.detach())
        high = F.mse_loss(_compress(student_high), _compress(teacher_high))
        return F.mse_loss(student_low, teacher_low) + self.high_weight * high

    def _split(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        width = embedding.shape[1]
        bins = 1 + round(self.low_share * (width // 2))  # the first is the mean
        low = torch.fft.irfft(torch.fft.rfft(embedding, dim=1)[:, :bins], n=width, dim=1)
        return F.layer_norm(low, [width]), F.layer_norm(embedding - low, [width])


class SharedClassifierLoss(nn.Module):
    """Cross-entropy of one classifier applied to both the teacher's and the student's embedding.

    ``CE(C(s), label) + CE(C(t), label)``, mean over the labelled clips, with a linear classifier C that is trained with
    the student. A shared classifier moves a voice towards the faces with the same emotion. From Liu et al.,
    "Distilling Cross-Modal Knowledge via Feature Disentanglement", AAAI 2026, arXiv:2511.19887, which has a classifier
    for each band of `FrequencyMSELoss`; this one classifies the whole embedding.

    Clips without a label (-1) are excluded; if no clip has a label, the loss is 0.

    Args:
        num_features: Width of the embeddings.
        num_classes: Number of emotions.

    Examples:
        >>> loss = SharedClassifierLoss(num_features=4, num_classes=8)
        >>> loss(torch.randn(2, 4), torch.randn(2, 4), torch.tensor([3, -1])).shape
        torch.Size([])
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(num_features, num_classes)

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor, label: Tensor) -> Tensor:
        """Compute the loss, a scalar, from embeddings (B, num_features), B at least 1, and labels of shape (B,)."""
        logits = self.classifier(torch.cat([student_embedding, teacher_embedding.detach()]))
        total = F.cross_entropy(logits, label.repeat(2), ignore_index=UNLABELLED, reduction="sum")
        return total / (label != UNLABELLED).sum().clamp(min=1)


def _standardize(norm: nn.BatchNorm1d, embedding: Tensor) -> Tensor:
    if len(embedding) > 1:
        return norm(embedding)
    return F.batch_norm(embedding, norm.running_mean, norm.running_var, eps=norm.eps)


def _compress(values: Tensor) -> Tensor:
    return values.sign() * values.abs().log1p()
