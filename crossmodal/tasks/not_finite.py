"""Whose fault it is that a loss is no number."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_MOST = 8  # clips that are named


def explain_loss(where: str, loss: float, batch: Mapping[str, Any], features: Tensor, logits: Tensor) -> str:
    """Say where a loss is NaN or infinite, which clips caused it, and what to do.

    Args:
        where: The stage, the epoch and the step.
        loss: What it is.
        batch: With the names of the clips, ``clip``, if it has them.
        features: What the front end made of it, (B, ...).
        logits: What the model said of it, (B, K).
    """
    if at_fault := spoilt_clips(batch, features):
        return f"{where}: the loss is {loss}. {explain_clips(at_fault)}"
    said = _not_finite(_clips(batch, len(logits)), [logits])
    what = f"what the model says of {_names(said)} is no number" if said else "only the loss is no number"
    return (
        f"{where}: the loss is {loss}. The clips are sound, but {what}: the training has run away. A lower lr, in the "
        "stage's section model, or --trainer.gradient_clip_val 0.1 keeps it from that. The last good state stays."
    )


def explain_clips(clips: Sequence[str]) -> str:
    """Say that these clips cannot be trained on, and what to do."""
    return f"What is read or heard of {_names(clips)} is no number: leave out these clips, or make them anew."


def spoilt_clips(batch: Mapping[str, Any], features: Tensor) -> list[str]:
    """The clips of a batch in which something, or in whose features, (B, ...), something is NaN or infinite."""
    given = [value for value in batch.values() if isinstance(value, Tensor) and value.is_floating_point()]
    return _not_finite(_clips(batch, len(features)), [*given, features])


def _clips(batch: Mapping[str, Any], size: int) -> list[str]:
    return batch.get("clip") or [f"number {index}" for index in range(size)]


def _not_finite(clips: Sequence[str], tensors: Sequence[Tensor]) -> list[str]:
    per_clip = [~torch.isfinite(tensor).reshape(len(tensor), -1).all(dim=1).cpu() for tensor in tensors]
    strange = torch.stack([one for one in per_clip if len(one) == len(clips)]).any(dim=0).tolist()
    return [clip for clip, is_strange in zip(clips, strange, strict=True) if is_strange]


def _names(clips: Sequence[str]) -> str:
    rest = f" and {len(clips) - _MOST} more" if len(clips) > _MOST else ""
    return ", ".join(clips[:_MOST]) + rest
