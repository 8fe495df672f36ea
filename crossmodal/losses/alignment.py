"""Feature-based distillation: the student's embedding learns from the teacher's, at the teacher's width."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StandardizedMSELoss(nn.Module):
    """Mean squared error between embeddings of which each dimension has been standardized.

    ``mean((BN(s) - BN(t))^2)`` with batch normalization that learns nothing. Voice and face need not agree in scale,
    only in how they vary. After FitNets (Romero et al., ICLR 2015, arXiv:1412.6550); standardizing the teacher follows
    Heo et al., "A Comprehensive Overhaul of Feature Distillation", ICCV 2019, arXiv:1904.01866.

    In evaluation mode, and for a batch of one clip, running statistics take the place of the batch's.

    Args:
        num_features: Width of the embeddings.

    Example:
        >>> import torch
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
    """The student tells from the sound what the teacher looks at: mean squared error, ``mean((s - t)^2)``.

    Targets are features that have been standardized over the training actors: for each, 1 less the loss is the share of
    its variance that the voice explains. A side task shapes what the main task sees: Caruana, "Multitask learning",
    Machine Learning 28, 1997.

    Example:
        >>> import torch
        >>> FeatureRegressionLoss()(torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 1.0]]))
        tensor(2.)
    """

    def forward(self, student_features: Tensor, teacher_features: Tensor) -> Tensor:
        """Compute the loss, a scalar, from features of shape (B, D), B at least 1."""
        return F.mse_loss(student_features, teacher_features.detach())


class CosineAlignmentLoss(nn.Module):
    """One minus the cosine between embeddings, mean over the batch: ``mean_i(1 - cos(s[i], t[i]))``.

    Example:
        >>> import torch
        >>> CosineAlignmentLoss()(torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 0.0]]))
        tensor(1.)
    """

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
        """Compute the loss, a scalar, from embeddings of shape (B, num_features), B at least 1."""
        return 1 - F.cosine_similarity(student_embedding, teacher_embedding.detach(), dim=1).mean()


class FrequencyMSELoss(nn.Module):
    """Embeddings compared closely in their slow changes from dimension to dimension, loosely in their fast ones.

    ``mean((Z(low(s)) - Z(low(t)))^2) + high_weight * mean((g(Z(high(s))) - g(Z(high(t))))^2)``: the discrete Fourier
    transform over the dimensions splits an embedding into low and high, which add up to it; Z takes away the mean and
    divides by the deviation over the dimensions; ``g(x) = sign(x) * log(1 + |x|)`` makes large differences count less.
    Liu et al., "Distilling Cross-Modal Knowledge via Feature Disentanglement", AAAI 2026, arXiv:2511.19887: the lower
    half of the spectrum is where voice and face agree. The paper's shared classifiers are `SharedClassifierLoss`.

    The paper's code was not to be had. These details are ours: the mean belongs to no band, and `low_share` is a share
    of the frequencies without it; each band is standardized by itself, after the split; it is divided by its deviation
    where the paper divides by its L2 norm, so that the logarithm meets values near 1 and the loss does not shrink as
    embeddings grow wider; both bands weigh the same. The dimensions of an embedding have no order by nature: the
    teacher's is taken as it is.

    Args:
        low_share: Share of the frequencies that make the low band, from 0 to 1.
        high_weight: Weight of the high band beside the low one.

    Raises:
        ValueError: The share is not from 0 to 1.

    Example:
        >>> import torch
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
    """One classifier has to name the emotion from the teacher's embedding and from the student's.

    ``CE(C(s), label) + CE(C(t), label)``, mean over the labelled clips, with a linear classifier C that learns with the
    student: to be read by what also reads the face, a voice has to lie where that emotion's faces lie. From Liu et al.,
    "Distilling Cross-Modal Knowledge via Feature Disentanglement", AAAI 2026, arXiv:2511.19887, which has a classifier
    for each band of `FrequencyMSELoss`; ours reads the whole embedding.

    A clip without a label, -1, is left out; without any labelled clip the loss is 0.

    Args:
        num_features: Width of the embeddings.
        num_classes: Number of emotions.

    Example:
        >>> import torch
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
        total = F.cross_entropy(logits, label.repeat(2), ignore_index=-1, reduction="sum")
        return total / (label >= 0).sum().clamp(min=1)


def _standardize(norm: nn.BatchNorm1d, embedding: Tensor) -> Tensor:
    if len(embedding) > 1:
        return norm(embedding)
    return F.batch_norm(embedding, norm.running_mean, norm.running_var, eps=norm.eps)


def _compress(values: Tensor) -> Tensor:
    return values.sign() * values.abs().log1p()
