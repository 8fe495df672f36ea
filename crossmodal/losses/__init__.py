"""How a teacher's outputs become a loss for the student: pure modules, from two tensors to a scalar."""

from crossmodal.losses.alignment import CosineAlignmentLoss, StandardizedMSELoss
from crossmodal.losses.distillation import DISTLoss, KnowledgeDistillationLoss, LogitStandardizedKDLoss
from crossmodal.losses.factory import (
    AlignLossName,
    KDLossName,
    create_align_loss,
    create_kd_loss,
    list_align_losses,
    list_kd_losses,
)

__all__ = [
    "AlignLossName",
    "CosineAlignmentLoss",
    "DISTLoss",
    "KDLossName",
    "KnowledgeDistillationLoss",
    "LogitStandardizedKDLoss",
    "StandardizedMSELoss",
    "create_align_loss",
    "create_kd_loss",
    "list_align_losses",
    "list_kd_losses",
]
