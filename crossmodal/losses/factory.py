"""Losses by name."""
# To add one, write a class in the file of its category, and add its name to the Literal and to the dict below it.

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from crossmodal.losses.alignment import (
    CosineAlignmentLoss,
    FeatureRegressionLoss,
    FrequencyMSELoss,
    SharedClassifierLoss,
    StandardizedMSELoss,
)
from crossmodal.losses.contrastive import CrossModalSupConLoss
from crossmodal.losses.distillation import (
    DecoupledKDLoss,
    DISTLoss,
    KnowledgeDistillationLoss,
    LogitStandardizedKDLoss,
)
from crossmodal.losses.relational import CKALoss, MMDLoss, RKDLoss
from crossmodal.naming import call_with_known, lookup

KDLossName = Literal["dist", "dkd", "kd", "logit_std"]
AlignLossName = Literal["cka", "cosine", "fd", "mmd", "mse", "regression", "rkd", "shared_classifier", "supcon"]
LossName = Literal[KDLossName, AlignLossName]


@dataclass(frozen=True)
class LossEntry:
    """Description of a loss for the training step."""

    make: type[nn.Module]
    compares: Literal["logits", "embeddings", "features"]  # the student predicts the teacher's features
    needs_label: bool = False  # (B,), -1 for unlabelled clips, as a third argument
    needs_projection: bool = False  # of the student's embedding to the width of the teacher's output


LOSSES: dict[LossName, LossEntry] = {
    "dist": LossEntry(DISTLoss, "logits"),
    "dkd": LossEntry(DecoupledKDLoss, "logits", needs_label=True),
    "kd": LossEntry(KnowledgeDistillationLoss, "logits"),
    "logit_std": LossEntry(LogitStandardizedKDLoss, "logits"),
    "cka": LossEntry(CKALoss, "embeddings"),
    "cosine": LossEntry(CosineAlignmentLoss, "embeddings", needs_projection=True),
    "fd": LossEntry(FrequencyMSELoss, "embeddings", needs_projection=True),
    "mmd": LossEntry(MMDLoss, "embeddings", needs_projection=True),
    "mse": LossEntry(StandardizedMSELoss, "embeddings", needs_projection=True),
    "regression": LossEntry(FeatureRegressionLoss, "features", needs_projection=True),
    "rkd": LossEntry(RKDLoss, "embeddings"),
    "shared_classifier": LossEntry(SharedClassifierLoss, "embeddings", needs_label=True, needs_projection=True),
    "supcon": LossEntry(CrossModalSupConLoss, "embeddings", needs_label=True, needs_projection=True),
}
KD_LOSSES = {name: entry for name, entry in LOSSES.items() if entry.compares == "logits"}
ALIGN_LOSSES = {name: entry for name, entry in LOSSES.items() if entry.compares != "logits"}


def create_loss(name: LossName, num_features: int, num_classes: int, **kwargs: Any) -> nn.Module:
    """Create a loss by name; its entry in `LOSSES` describes the inputs of its ``forward``.

    Args:
        name: One of `LOSSES`.
        num_features: Width of the teacher's embeddings, for the losses that need it.
        num_classes: Number of emotions, for the losses that need it.
        **kwargs: Additional arguments of its class; None means the default where None is not a valid value.

    Raises:
        ConfigError: If the loss or an argument does not exist.
        ValueError: If an argument has an invalid value.

    Examples:
        >>> create_loss("mse", num_features=128, num_classes=8).student_norm.num_features
        128
        >>> LOSSES["mse"].compares, LOSSES["mse"].needs_projection, LOSSES["mse"].needs_label
        ('embeddings', True, False)
    """
    make = lookup("loss", LOSSES, name).make
    sizes = {"num_features": num_features, "num_classes": num_classes}
    required = {size: sizes[size] for size in sizes.keys() & inspect.signature(make).parameters.keys()}
    return call_with_known(f"loss {name!r}", make, required, kwargs)
