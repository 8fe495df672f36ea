"""Losses by name.

A new one is a class in a file of its own, a word in the Literal and a line in the dict below it.
"""

from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from crossmodal.losses.alignment import CosineAlignmentLoss, StandardizedMSELoss
from crossmodal.losses.distillation import DISTLoss, KnowledgeDistillationLoss, LogitStandardizedKDLoss
from crossmodal.naming import look_up

KDLossName = Literal["dist", "kd", "logit_std"]
_KD_LOSSES: dict[KDLossName, type[nn.Module]] = {
    "dist": DISTLoss,
    "kd": KnowledgeDistillationLoss,
    "logit_std": LogitStandardizedKDLoss,
}

AlignLossName = Literal["cosine", "mse"]
_ALIGN_LOSSES: dict[AlignLossName, Callable[[int], nn.Module]] = {
    "cosine": lambda num_features: CosineAlignmentLoss(),
    "mse": StandardizedMSELoss,
}


def create_kd_loss(name: KDLossName, **kwargs: Any) -> nn.Module:
    """Make a loss between student and teacher logits by its name.

    Args:
        name: One of `list_kd_losses`.
        **kwargs: Arguments of its class; every one takes a ``temperature``.

    Returns:
        The loss.

    Raises:
        ConfigError: There is no such loss.

    Example:
        >>> create_kd_loss("kd", temperature=4.0)
        KnowledgeDistillationLoss()
    """
    return look_up("KD loss", _KD_LOSSES, name)(**kwargs)


def list_kd_losses() -> list[str]:
    """Name the losses between logits."""
    return sorted(_KD_LOSSES)


def create_align_loss(name: AlignLossName, num_features: int) -> nn.Module:
    """Make a loss between student and teacher embeddings by its name.

    Args:
        name: One of `list_align_losses`.
        num_features: Width of the embeddings.

    Returns:
        The loss.

    Raises:
        ConfigError: There is no such loss.

    Example:
        >>> create_align_loss("cosine", num_features=128)
        CosineAlignmentLoss()
    """
    return look_up("alignment loss", _ALIGN_LOSSES, name)(num_features)


def list_align_losses() -> list[str]:
    """Name the losses between embeddings."""
    return sorted(_ALIGN_LOSSES)
