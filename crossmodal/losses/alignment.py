"""Feature-based distillation between student and teacher embeddings of the same width."""

import torch.nn.functional as F
from torch import Tensor, nn


class StandardizedMSELoss(nn.Module):
    """Mean squared error between embeddings with standardized dimensions.

    ``mean((BN(s) - BN(t))^2)`` with batch normalization without learned parameters. Student and teacher must match in
    variation, not in scale. After FitNets (Romero et al., ICLR 2015, arXiv:1412.6550); standardizing the teacher
    follows Heo et al., "A Comprehensive Overhaul of Feature Distillation", ICCV 2019, arXiv:1904.01866.

    In evaluation mode, and for a batch of one clip, running statistics replace those of the batch.

    Args:
        num_features: Width of the embeddings.

    Examples:
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


class CosineAlignmentLoss(nn.Module):
    """One minus the cosine similarity of embeddings, mean over the batch: ``mean_i(1 - cos(s[i], t[i]))``.

    Examples:
        >>> import torch
        >>> CosineAlignmentLoss()(torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 0.0]]))
        tensor(1.)
    """

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
        """Compute the loss, a scalar, from embeddings of shape (B, num_features), B at least 1."""
        return 1 - F.cosine_similarity(student_embedding, teacher_embedding.detach(), dim=1).mean()


def _standardize(norm: nn.BatchNorm1d, embedding: Tensor) -> Tensor:
    if len(embedding) > 1:
        return norm(embedding)
    return F.batch_norm(embedding, norm.running_mean, norm.running_var, eps=norm.eps)
