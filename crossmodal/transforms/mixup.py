"""Mixup of clips, their labels and their teacher outputs."""

from typing import Any

import torch
from torch import Tensor

from crossmodal.errors import ConfigError
from crossmodal.transforms.masking import length_mask
from crossmodal.transforms.random_transform import RandomTransform, check_number

_LENGTH_KEYS = {"waveform": "waveform_length", "features": "feature_length"}  # mixed inputs and their lengths
_TEACHER_PREFIX = "teacher_"


class Mixup(RandomTransform):
    """Mix each clip with another clip of the batch: audio, teacher outputs and labels.

    Zhang, Cissé, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018. The weight is drawn for
    each clip from Beta(alpha, alpha); the larger of the two weights is the clip's own. A clip without a label (-1) is
    neither changed nor mixed into another clip. Teacher outputs have to be in the batch already: a live teacher would
    process faces that are not mixed.

    The task loss is then ``weight * loss(logits, label) + (1 - weight) * loss(logits, mixed_label)`` for each clip.
    """

    def __init__(self, alpha: float = 0.2, p: float = 1.0) -> None:
        super().__init__(p)
        self.alpha = check_number("alpha", alpha, 0.001, 1000)

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Mix the waveforms or normalized features of a batch and all its teacher outputs, in training only.

        The new batch also has ``mixed_label`` (B,) int64, the label of the clip that was mixed in, and ``label_weight``
        (B,) float32 from 0.5 to 1, the weight of the clip's own label. A length is the longer of the two.
        """
        if not self.training:
            return batch
        if not batch.keys() & _LENGTH_KEYS:
            raise ConfigError(f"Mixup needs waveform or features in the batch, got {', '.join(batch)}.")
        label = batch["label"]
        partner, weight = self._draw(label)
        mixed = {**batch, "mixed_label": label[partner], "label_weight": weight}
        for name, length in _LENGTH_KEYS.items():
            if name in batch:
                padding = ~length_mask(batch[length], batch[name].shape[-1])
                mixed[name] = _mix(batch[name].masked_fill(padding[:, None], 0.0), partner, weight)
                mixed[length] = torch.maximum(batch[length], batch[length][partner])
        for name in batch:
            if name.startswith(_TEACHER_PREFIX):
                mixed[name] = _mix(batch[name], partner, weight)
        return mixed

    def _draw(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """Draw each clip's partner and own weight; a clip that is not mixed is its own partner, with weight 1."""
        labelled = (label >= 0).cpu()
        order = labelled.nonzero().squeeze(1)
        order = order[torch.randperm(len(order))]
        partner = torch.arange(len(label))
        partner[order] = order.roll(1)  # a cyclic shift, so that no clip is its own partner
        # In double precision, because a small alpha underflows in single precision.
        alpha = torch.tensor(self.alpha, dtype=torch.float64)
        weight = torch.distributions.Beta(alpha, alpha).sample((len(label),)).float()
        weight = torch.maximum(weight, 1 - weight)
        identity = torch.arange(len(label))
        mixed = self.draw_clips(len(label)) & (partner != identity) & (weight < 1)
        partner, weight = torch.where(mixed, partner, identity), torch.where(mixed, weight, 1.0)
        return partner.to(label.device), weight.to(label.device)


def _mix(values: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    """Mix values of shape (B, ...) with their partners; a weight of 1 returns them unchanged."""
    return torch.lerp(values[partner], values, weight.to(values.dtype).reshape(-1, *[1] * (values.ndim - 1)))
