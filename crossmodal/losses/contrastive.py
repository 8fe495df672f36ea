"""Contrastive distillation: a voice is to be nearer to the faces of its emotion than to all others."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossModalSupConLoss(nn.Module):
    """Supervised contrast of each voice with all faces of the batch.

    ``mean_i(-mean_p(log(exp(cos(s[i], t[p]) / T) / sum_a(exp(cos(s[i], t[a]) / T)))))``: a runs over all clips, p over
    those of clip i's class, itself among them. Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020,
    arXiv:2004.11362, whose loss with the mean outside the logarithm it is, with voices for anchors and faces for
    everything else.

    The clips of one class attract each other. Where only a clip's own face may, as in plain contrast of pairs, a batch
    of 32 clips of eight emotions pushes each voice from about three faces that show what it says. A clip without a
    label, -1, has only its own face to go to; to all others its face is one to go away from.

    Args:
        temperature: What cosines are divided by; the lower, the more the nearest faces count.

    Raises:
        ValueError: The temperature is not positive.

    Example:
        >>> import torch
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
    """For each clip, a row, which faces it is drawn to."""
    same_class = (label.unsqueeze(1) == label) & (label >= 0)
    return same_class | torch.eye(len(label), dtype=torch.bool, device=label.device)
