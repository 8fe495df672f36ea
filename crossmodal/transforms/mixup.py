"""Clips mixed with one another by chance, and with them what is said of them."""

from typing import Any

import torch
from torch import Tensor

from crossmodal.errors import ConfigError
from crossmodal.transforms.masking import length_mask
from crossmodal.transforms.random_transform import RandomTransform, check_number

_SOUNDS = {"waveform": "waveform_length", "features": "feature_length"}  # what is mixed, and where its length stands
_TEACHER = "teacher_"  # what the names of a teacher's outputs begin with


class Mixup(RandomTransform):
    """Mix each clip with another of the batch: the sound, the teacher outputs and, by their weights, the labels.

    Zhang, Cissé, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018. The weight is drawn for
    each clip from Beta(alpha, alpha); of the two clips, the one with the larger weight counts as the clip itself. A
    clip without a label (-1) stays as it is and is mixed into no other, so that no label is invented.

    A task's loss is then ``weight * loss(logits, label) + (1 - weight) * loss(logits, mixed_label)``, clip by clip.
    Teacher outputs have to be in the batch already: a live teacher would see faces that are not mixed.

    Args:
        alpha: Of the Beta distribution, above 0; the larger, the more the two weigh alike.
        p: Probability for each clip.

    Raises:
        ConfigError: `alpha` is not from 0.001 to 1000.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> batch = {"label": torch.tensor([3, 5]), "waveform": torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])}
        >>> mixed = Mixup(alpha=1.0)(batch | {"waveform_length": torch.tensor([2, 1])})
        >>> mixed["label_weight"], mixed["mixed_label"]
        (tensor([0.5175, 0.6018]), tensor([5, 3]))
        >>> mixed["waveform"].squeeze(1)
        tensor([[0.5175, 0.5175],
                [0.3982, 0.3982]])
    """

    def __init__(self, alpha: float = 0.2, p: float = 1.0) -> None:
        super().__init__(p)
        check_number("alpha", alpha, 0.001, 1000)
        self.alpha = alpha

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Mix a batch; in eval mode it is returned as it is.

        Args:
            batch: With ``label`` (B,); ``waveform`` (B, 1, T) and ``waveform_length`` (B,), or ``features`` (B, F,
                frames), normalized, and ``feature_length`` (B,); and possibly a teacher's outputs, such as
                ``teacher_embedding`` (B, E) and ``teacher_logits`` (B, K).

        Returns:
            A new batch, in which these are mixed and a length is the longer of the two. It holds in addition
            ``mixed_label`` (B,) int64, the label of the clip that was mixed in, and ``label_weight`` (B,) float32 from
            0.5 to 1, the weight of the clip's own label.

        Raises:
            ConfigError: The batch holds neither waveforms nor features.
        """
        if not self.training:
            return batch
        if not batch.keys() & _SOUNDS:
            raise ConfigError(f"Mixup mixes waveform or features; this batch holds {', '.join(batch)}.")
        label = batch["label"]
        partner, weight = self._draw(label)
        mixed = {**batch, "mixed_label": label[partner], "label_weight": weight}
        for sound, length in _SOUNDS.items():
            if sound in batch:
                padding = ~length_mask(batch[length], batch[sound].shape[-1])
                mixed[sound] = _mix(batch[sound].masked_fill(padding[:, None], 0.0), partner, weight)
                mixed[length] = torch.maximum(batch[length], batch[length][partner])
        for name in batch:
            if name.startswith(_TEACHER):
                mixed[name] = _mix(batch[name], partner, weight)
        return mixed

    def _draw(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a partner for each clip, and the clip's own weight; who is not mixed is its own partner at weight 1."""
        labelled = (label >= 0).cpu()
        order = labelled.nonzero().squeeze(1)
        order = order[torch.randperm(len(order))]
        partner = torch.arange(len(label))
        partner[order] = order.roll(1)  # one round of all, in which nobody is next to themselves
        # In double precision: in single, a small alpha underflows.
        alpha = torch.tensor(self.alpha, dtype=torch.float64)
        weight = torch.distributions.Beta(alpha, alpha).sample((len(label),)).float()
        weight = torch.maximum(weight, 1 - weight)
        alone = torch.arange(len(label))
        mixed = self.draw_clips(len(label)) & (partner != alone) & (weight < 1)
        partner, weight = torch.where(mixed, partner, alone), torch.where(mixed, weight, 1.0)
        return partner.to(label.device), weight.to(label.device)


def _mix(values: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    """Mix (B, ...) with its partners, such that a weight of 1 changes nothing."""
    return torch.lerp(values[partner], values, weight.to(values.dtype).reshape(-1, *[1] * (values.ndim - 1)))
