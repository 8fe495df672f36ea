"""Response-based distillation between student and teacher logits."""

import torch.nn.functional as F
from torch import Tensor, nn


class KnowledgeDistillationLoss(nn.Module):
    """Kullback-Leibler divergence of the softened probabilities of teacher and student.

    ``T^2 * KL(softmax(t / T) || softmax(s / T))``, mean over the batch. The factor keeps the size of the gradients
    independent of the temperature. Hinton et al., "Distilling the Knowledge in a Neural Network", 2015,
    arXiv:1503.02531.

    Args:
        temperature: Divisor of the logits; at higher temperatures small probabilities have more weight.

    Raises:
        ValueError: If the temperature is not positive.

    Examples:
        >>> loss = KnowledgeDistillationLoss(temperature=1.0)
        >>> loss(Tensor([[0.0, 0.0]]), Tensor([[0.0, 100.0]]))
        tensor(0.6931)
    """

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        self.temperature = _positive(temperature)

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Compute the loss, a scalar, from logits of shape (B, num_classes), B at least 1."""
        student = F.log_softmax(student_logits / self.temperature, dim=1)
        teacher = F.log_softmax(teacher_logits.detach() / self.temperature, dim=1)
        return self.temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


class LogitStandardizedKDLoss(KnowledgeDistillationLoss):
    """Knowledge distillation on logits standardized within each clip.

    ``T^2 * KL(softmax(Z(t) / T) || softmax(Z(s) / T))`` with ``Z(x) = (x - mean(x)) / std(x)`` over the classes. The
    student has to match the teacher's ranking, not its confidence. Sun et al., "Logit Standardization in Knowledge
    Distillation", CVPR 2024, arXiv:2403.01427. The variance divides by the number of classes, as in the paper; the
    paper's code divides by one less. The paper's experiments use a loss weight of 9, which the caller has to set.

    Args:
        temperature: Divisor of the standardized logits.

    Raises:
        ValueError: If the temperature is not positive.

    Examples:
        >>> teacher = Tensor([[1.0, 2.0, 4.0]])
        >>> LogitStandardizedKDLoss()(10 * teacher + 5, teacher) < 1e-6
        tensor(True)
    """

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Compute the loss, a scalar, from logits of shape (B, num_classes), B at least 1."""
        return super().forward(_standardize(student_logits), _standardize(teacher_logits))


class DISTLoss(nn.Module):
    """Correlation of the classes within each clip and of the clips within each class.

    ``T^2 * (inter_weight * mean_i(1 - r(S[i, :], T[i, :])) + intra_weight * mean_k(1 - r(S[:, k], T[:, k])))`` with the
    softened probabilities S and T and Pearson's r. Huang et al., "Knowledge Distillation from A Stronger Teacher",
    NeurIPS 2022, arXiv:2205.10536. Unlike divergences, correlations do not shrink with the temperature, so the factor
    T^2, which is in the paper's code, makes this loss grow with it. For a batch of one clip the correlation between
    clips is undefined: that term is then ``intra_weight`` and has no gradient.

    Args:
        inter_weight: Weight of the correlation of classes within each clip.
        intra_weight: Weight of the correlation of clips within each class.
        temperature: Divisor of the logits.

    Raises:
        ValueError: If the temperature is not positive.

    Examples:
        >>> logits = Tensor([[1.0, 2.0, 4.0], [3.0, 0.0, 1.0]])
        >>> DISTLoss()(logits, logits).abs() < 1e-6
        tensor(True)
    """

    def __init__(self, inter_weight: float = 1.0, intra_weight: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__()
        self.inter_weight = inter_weight
        self.intra_weight = intra_weight
        self.temperature = _positive(temperature)

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Compute the loss, a scalar, from logits of shape (B, num_classes), B at least 1."""
        student = F.softmax(student_logits / self.temperature, dim=1)
        teacher = F.softmax(teacher_logits.detach() / self.temperature, dim=1)
        inter = 1 - _pearson(student, teacher, dim=1).mean()
        intra = 1 - _pearson(student, teacher, dim=0).mean()
        return self.temperature**2 * (self.inter_weight * inter + self.intra_weight * intra)


def _positive(temperature: float) -> float:
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}.")
    return temperature


def _standardize(logits: Tensor) -> Tensor:
    centred = logits - logits.mean(dim=1, keepdim=True)
    # The small number is inside the root, so that equal logits, whose deviation is 0, have a finite gradient.
    return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-7).sqrt()


def _pearson(first: Tensor, second: Tensor, dim: int) -> Tensor:
    return F.cosine_similarity(
        first - first.mean(dim=dim, keepdim=True), second - second.mean(dim=dim, keepdim=True), dim=dim
    )
