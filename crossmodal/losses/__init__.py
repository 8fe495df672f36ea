"""Losses between student and teacher outputs: pure modules that map two tensors, and labels, to a scalar."""
# Every loss takes a batch of at least one clip. To teach only some clips of a batch, index all arguments with them, and
# skip the loss if there are none.

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
from crossmodal.losses.factory import (
    ALIGN_LOSSES,
    KD_LOSSES,
    LOSSES,
    AlignLossName,
    KDLossName,
    Loss,
    LossEntry,
    LossName,
    create_loss,
    parse_loss,
)
from crossmodal.losses.relational import CKALoss, MMDLoss, RKDLoss

# Increment if the same tensors would give another loss or gradient: every stage is then retrained.
VERSION = 1

__all__ = [
    "ALIGN_LOSSES",
    "KD_LOSSES",
    "LOSSES",
    "AlignLossName",
    "CKALoss",
    "CosineAlignmentLoss",
    "CrossModalSupConLoss",
    "DISTLoss",
    "DecoupledKDLoss",
    "FeatureRegressionLoss",
    "FrequencyMSELoss",
    "KDLossName",
    "KnowledgeDistillationLoss",
    "LogitStandardizedKDLoss",
    "Loss",
    "LossEntry",
    "LossName",
    "MMDLoss",
    "RKDLoss",
    "SharedClassifierLoss",
    "StandardizedMSELoss",
    "create_loss",
    "parse_loss",
]
