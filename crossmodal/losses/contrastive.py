"""Contrastive distillation, which moves a voice closer to the faces with the same emotion than to other faces."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.batch import UNLABELLED


class CrossModalSupConLoss(nn.Module):
    """Supervised contrastive loss between each voice and all faces of the batch.

    ``mean_i(-mean_p(log(exp(cos(s[i], t[p]) / T) / sum_a(exp(cos(s[i], t[a]) / T)))))``: a runs over all clips, p over
    the clips of clip i's class, including i. This is the loss of Khosla et al., "Supervised Contrastive Learning",
    NeurIPS 2020, arXiv:2004.11362, with the mean outside the logarithm, voices as anchors and faces as positives and
    negatives.

    All clips of a class are positives. If only a clip's own face were positive, as in plain contrastive learning, a
    batch of 32 clips of eight emotions would push each voice away from about three faces with the same emotion. For a
    clip without a label (-1) only its own face is positive; for all other clips its face is negative.

    Args:
        temperature: Divisor of the cosines; at lower temperatures the nearest faces have more weight.

    Raises:
        ValueError: If the temperature is not positive.

    Examples:
        >>> faces, label = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
        >>> loss = CrossModalSupConLoss()
        >>> loss(faces, faces, label) < loss(faces.flip(0), faces, label)
        tensor(True)
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}.")
        self.temperature = temperature

    def forward(self, student_embedding: Tensor, teacher_embedding: Tensor, label: Tensor) -> Tensor:
        """Compute the loss, a scalar, from embeddings (B, num_features), B at least 1, and labels of shape (B,)."""
        student = F.normalize(student_embedding, dim=1, eps=1e-8)
        teacher = F.normalize(teacher_embedding.detach(), dim=1, eps=1e-8)
        log_probabilities = F.log_softmax(student @ teacher.T / self.temperature, dim=1)
        positive = _positives(label)
        return -((log_probabilities * positive).sum(dim=1) / positive.sum(dim=1)).mean()


def _positives(label: Tensor) -> Tensor:
    """Return a (B, B) mask of the positive faces (columns) of each clip (row)."""
    same_class = (label.unsqueeze(1) == label) & (label != UNLABELLED)
    return same_class | torch.eye(len(label), dtype=torch.bool, device=label.device)
