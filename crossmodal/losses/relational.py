"""Relational distillation: how the clips of a batch lie to each other is taught, not where each of them lies."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RKDLoss(nn.Module):
    """Distances between two clips and angles among three, as the teacher sees them.

    ``distance_weight * mean_ij(h(d(s[i], s[j]), d(t[i], t[j]))) + angle_weight * mean_ijk(h(a(s[i], s[j], s[k]),
    a(t[i], t[j], t[k])))`` over different clips, with d the Euclidean distance divided by its mean over the batch, a
    the cosine of the angle at clip j, and h the smooth L1 loss. Park et al., "Relational Knowledge Distillation", CVPR
    2019, arXiv:1904.05068; angles weigh twice as much as distances, as there.

    Student and teacher may differ in width. A batch of one clip has no distances, one of two no angles: what is not
    there is 0.

    Args:
        distance_weight: Weight of the distances.
        angle_weight: Weight of the angles.

    Example:
        >>> import torch
        >>> teacher = torch.randn(8, 2)
        >>> student = torch.cat([-teacher, torch.ones(8, 3)], dim=1)  # turned, and in a wider space
        >>> RKDLoss()(student, teacher) < 1e-6
        tensor(True)
    """

    def __init__(self, distance_weight: float = 1.0, angle_weight: float = 2.0) -> None:
        super().__init__()
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
        """Compute the loss, a scalar, from embeddings (B, student's width) and (B, teacher's width), B at least 1."""
        size = len(student_embedding)
        student_distances, student_angles = _relations(student_embedding)
        teacher_distances, teacher_angles = _relations(teacher_embedding.detach())
        distance = F.smooth_l1_loss(student_distances, teacher_distances, reduction="sum")
        angle = F.smooth_l1_loss(student_angles, teacher_angles, reduction="sum")
        # What is no pair or no angle is 0 for both: it adds nothing, and is not counted.
        distance = distance / max(size * (size - 1), 1)
        angle = angle / max(size * (size - 1) * (size - 2), 1)
        return self.distance_weight * distance + self.angle_weight * angle


class CKALoss(nn.Module):
    """One minus the linear centred kernel alignment: do both find the same clips alike?

    ``1 - <K(s), K(t)> / (|K(s)| |K(t)|)`` with ``K(x)`` the inner products of the batch's embeddings after their mean
    has been taken away. Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019,
    arXiv:1905.00414. Turning, moving or scaling either space as a whole changes nothing, and they may differ in width.

    In a batch with fewer clips than dimensions even unrelated embeddings look alike: compare values of one batch size
    only. For one clip the loss is 0.

    Example:
        >>> import torch
        >>> teacher = torch.randn(8, 2)
        >>> student = torch.cat([5 * teacher.flip(1), torch.ones(8, 3)], dim=1)
        >>> CKALoss()(student, teacher) < 1e-6
        tensor(True)
    """

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
        """Compute the loss, a scalar, from embeddings (B, student's width) and (B, teacher's width), B at least 1."""
        if len(student_embedding) < 2:
            return 0 * student_embedding.sum()
        student, teacher = _inner_products(student_embedding), _inner_products(teacher_embedding.detach())
        return 1 - F.cosine_similarity(student.flatten(), teacher.flatten(), dim=0)


class MMDLoss(nn.Module):
    """Squared maximum mean discrepancy: are voices spread as faces are, whichever belongs to which?

    ``mean(k(s, s')) + mean(k(t, t')) - 2 * mean(k(s, t))`` over all pairs, a clip with itself among them, so that it is
    never below 0; ``k(x, y) = mean_b(exp(-|x - y|^2 / (2 * (b * m)^2)))`` with m the median distance between two of the
    batch's embeddings, of voice or face. Gretton et al., "A Kernel Two-Sample Test", JMLR 13, 2012. Each side is
    standardized first, every dimension over the batch: the spread is compared, not place and scale. For one clip the
    loss is 0.

    Args:
        bandwidths: Widths b of the kernels, in median distances.

    Example:
        >>> import torch
        >>> teacher = torch.randn(16, 4)
        >>> MMDLoss()(3 * teacher.flip(0) + 1, teacher) < 1e-4
        tensor(True)
    """

    def __init__(self, bandwidths: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0)) -> None:
        super().__init__()
        self.bandwidths = tuple(bandwidths)

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
        """Compute the loss, a scalar, from embeddings of shape (B, num_features), B at least 1."""
        size = len(student_embedding)
        if size < 2:
            return 0 * student_embedding.sum()
        embeddings = torch.cat([_standardize(student_embedding), _standardize(teacher_embedding.detach())])
        kernel = self._kernel(_distances(embeddings))
        return (kernel[:size, :size] + kernel[size:, size:] - 2 * kernel[:size, size:]).mean()

    def _kernel(self, distances: Tensor) -> Tensor:
        first, second = torch.triu_indices(len(distances), len(distances), offset=1, device=distances.device)
        median = distances.detach()[first, second].median().clamp(min=1e-6)
        scaled = (distances / median).square()
        return torch.stack([(scaled / (-2 * bandwidth**2)).exp() for bandwidth in self.bandwidths]).mean(dim=0)


def _relations(embedding: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of the clips, (B, B), and cosines of the angles at the first of three clips, (B, B, B)."""
    size = len(embedding)
    distances = _distances(embedding)
    mean = distances.sum() / max(size * (size - 1), 1)
    distances = distances / mean.clamp(min=1e-12)
    # Clips at one place see each other in no direction: their angles are 0 and have no gradient.
    inverse = 1 / distances.masked_fill(distances == 0, torch.inf)
    squares = distances.square()
    # The law of cosines: the angle at a clip from the three sides, without B^2 directions in memory.
    cosines = (squares.unsqueeze(2) + squares.unsqueeze(1) - squares) / 2 * inverse.unsqueeze(2) * inverse.unsqueeze(1)
    same = torch.eye(size, dtype=torch.bool, device=embedding.device)
    return distances, cosines.masked_fill(same, 0)


def _distances(embedding: Tensor) -> Tensor:
    # By way of inner products it would be faster and wrong for clips that are close to each other.
    return torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")


def _inner_products(embedding: Tensor) -> Tensor:
    centred = embedding - embedding.mean(dim=0)
    return centred @ centred.T


def _standardize(embedding: Tensor) -> Tensor:
    return F.batch_norm(embedding, None, None, training=True)
