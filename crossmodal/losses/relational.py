"""Relational distillation, which compares relations between the clips of a batch instead of single embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RKDLoss(nn.Module):
    """Relational knowledge distillation of distances between two clips and angles between three.

    ``distance_weight * mean_ij(h(d(s[i], s[j]), d(t[i], t[j]))) + angle_weight * mean_ijk(h(a(s[i], s[j], s[k]),
    a(t[i], t[j], t[k])))`` over different clips, with d the Euclidean distance divided by its mean over the batch, a
    the cosine of the angle at clip j, and h the smooth L1 loss. Park et al., "Relational Knowledge Distillation", CVPR
    2019, arXiv:1904.05068; angles weigh twice as much as distances, as there.

    Student and teacher may differ in width. A batch of one clip has no distances, and a batch of two has no angles; a
    missing term is 0.

    Args:
        distance_weight: Weight of the distances.
        angle_weight: Weight of the angles.

    Examples:
        >>> teacher = torch.randn(8, 2)
        >>> student = torch.cat([-teacher, torch.ones(8, 3)], dim=1)  # rotated, in a wider space
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
        # Entries that are not a pair or a triple of different clips are 0 for both, and are not counted in the mean.
        distance = distance / max(size * (size - 1), 1)
        angle = angle / max(size * (size - 1) * (size - 2), 1)
        return self.distance_weight * distance + self.angle_weight * angle


def _relations(embedding: Tensor) -> tuple[Tensor, Tensor]:
    """Return distances between clips, (B, B), and cosines of the angles at the first of three clips, (B, B, B)."""
    size = len(embedding)
    # Computing distances from inner products is faster but inaccurate for close embeddings.
    distances = torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.sum() / max(size * (size - 1), 1)
    distances = distances / mean.clamp(min=1e-12)
    # The direction between identical embeddings is undefined: their angles are 0 and have no gradient.
    inverse = 1 / distances.masked_fill(distances == 0, torch.inf)
    squares = distances.square()
    # The law of cosines needs only distances; computing B^2 directions would need more memory.
    cosines = (squares.unsqueeze(2) + squares.unsqueeze(1) - squares) / 2 * inverse.unsqueeze(2) * inverse.unsqueeze(1)
    same = torch.eye(size, dtype=torch.bool, device=embedding.device)
    return distances, cosines.masked_fill(same, 0)
