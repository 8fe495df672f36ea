"""Losses between student and teacher outputs: pure modules that map two tensors, and labels, to a scalar."""
# Every loss takes a batch of at least one clip. To teach only some clips of a batch, index all arguments with them, and
# skip the loss if there are none.

from crossmodal.losses.alignment import CosineAlignmentLoss as CosineAlignmentLoss
from crossmodal.losses.alignment import StandardizedMSELoss as StandardizedMSELoss
from crossmodal.losses.contrastive import CrossModalSupConLoss as CrossModalSupConLoss
from crossmodal.losses.distillation import DISTLoss as DISTLoss
from crossmodal.losses.distillation import KnowledgeDistillationLoss as KnowledgeDistillationLoss
from crossmodal.losses.distillation import LogitStandardizedKDLoss as LogitStandardizedKDLoss
from crossmodal.losses.factory import ALIGN_LOSSES as ALIGN_LOSSES
from crossmodal.losses.factory import KD_LOSSES as KD_LOSSES
from crossmodal.losses.factory import LOSSES as LOSSES
from crossmodal.losses.factory import AlignLossName as AlignLossName
from crossmodal.losses.factory import KDLossName as KDLossName
from crossmodal.losses.factory import Loss as Loss
from crossmodal.losses.factory import LossEntry as LossEntry
from crossmodal.losses.factory import LossName as LossName
from crossmodal.losses.factory import create_loss as create_loss
from crossmodal.losses.factory import parse_loss as parse_loss
from crossmodal.losses.relational import RKDLoss as RKDLoss

# Increment if the same tensors would give another loss or gradient: every stage is then retrained.
VERSION = 1
