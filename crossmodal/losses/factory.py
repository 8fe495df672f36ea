"""Losses by name.

A new one is a class in the file of its idea, a word in the Literal and a line in the dict below it.
"""

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from crossmodal.errors import ConfigError
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
from crossmodal.naming import call_with_known, look_up

KDLossName = Literal["dist", "dkd", "kd", "logit_std"]
AlignLossName = Literal["cka", "cosine", "fd", "mmd", "mse", "regression", "rkd", "shared_classifier", "supcon"]
LossName = Literal[KDLossName, AlignLossName]


@dataclass(frozen=True)
class LossEntry:
    """What a training step has to know of a loss.

    Args:
        make: Its class.
        compares: Which outputs of student and teacher it takes, the student's first; ``features`` are the teacher's
            alone, and the student has to tell them from its embedding.
        needs_label: Whether it takes the labels of shape (B,) as a third argument, -1 for a clip without one.
        needs_projection: Whether the student's embedding has to be brought to the width of the teacher's output.
    """

    make: type[nn.Module]
    compares: Literal["logits", "embeddings", "features"]
    needs_label: bool = False
    needs_projection: bool = False


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
_KD_LOSSES = {name: entry for name, entry in LOSSES.items() if entry.compares == "logits"}
_ALIGN_LOSSES = {name: entry for name, entry in LOSSES.items() if entry.compares != "logits"}


def create_loss(name: LossName, num_features: int, num_classes: int, **kwargs: Any) -> nn.Module:
    """Make a loss by its name; what it is called with, its entry in `LOSSES` says.

    Args:
        name: One of `list_losses`.
        num_features: Width of the teacher's embeddings, for those that have to know it.
        num_classes: Number of emotions, for those that have to know it.
        **kwargs: Further arguments of its class; None means the default where it is no value.

    Returns:
        The loss.

    Raises:
        ConfigError: There is no such loss or argument.
        ValueError: An argument has an impossible value.

    Example:
        >>> create_loss("mse", num_features=128, num_classes=8).student_norm.num_features
        128
        >>> LOSSES["mse"].compares, LOSSES["mse"].needs_projection, LOSSES["mse"].needs_label
        ('embeddings', True, False)
    """
    entry = look_up("loss", LOSSES, name)
    return _create(name, entry, {"num_features": num_features, "num_classes": num_classes}, kwargs)


def list_losses() -> list[str]:
    """Name all losses."""
    return sorted(LOSSES)


def create_kd_loss(name: KDLossName, **kwargs: Any) -> nn.Module:
    """Make a loss between student and teacher logits by its name.

    Args:
        name: One of `list_kd_losses`.
        **kwargs: Arguments of its class; every one takes a ``temperature``.

    Returns:
        The loss.

    Raises:
        ConfigError: There is no such loss or argument.
        ValueError: An argument has an impossible value.

    Example:
        >>> create_kd_loss("kd", temperature=4.0)
        KnowledgeDistillationLoss()
    """
    return _create(name, look_up("KD loss", _KD_LOSSES, name), {}, kwargs)


def list_kd_losses() -> list[str]:
    """Name the losses between logits."""
    return sorted(_KD_LOSSES)


def create_align_loss(
    name: AlignLossName, num_features: int, num_classes: int | None = None, **kwargs: Any
) -> nn.Module:
    """Make a loss between student and teacher embeddings by its name.

    Args:
        name: One of `list_align_losses`.
        num_features: Width of the teacher's embeddings.
        num_classes: Number of emotions; None will do for those that need not know it.
        **kwargs: Further arguments of its class; None means the default where it is no value.

    Returns:
        The loss.

    Raises:
        ConfigError: There is no such loss or argument, or it has to know the number of classes.
        ValueError: An argument has an impossible value.

    Example:
        >>> create_align_loss("cosine", num_features=128)
        CosineAlignmentLoss()
    """
    entry = look_up("alignment loss", _ALIGN_LOSSES, name)
    return _create(name, entry, {"num_features": num_features, "num_classes": num_classes}, kwargs)


def list_align_losses() -> list[str]:
    """Name the losses between embeddings."""
    return sorted(_ALIGN_LOSSES)


def _create(name: str, entry: LossEntry, sizes: dict[str, int | None], kwargs: dict[str, Any]) -> nn.Module:
    given = {size: value for size, value in sizes.items() if size in inspect.signature(entry.make).parameters}
    for size, value in given.items():
        if value is None:
            raise ConfigError(f"The loss {name!r} needs {size}.")
    return call_with_known(f"loss {name!r}", entry.make, given, kwargs)
