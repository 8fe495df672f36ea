"""Diagnosis of invalid labels and non-finite losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from crossmodal.errors import ConfigError

_MAX_NAMES = 8  # clips listed in a message


def check_labels(stage: str, label: Tensor, number: int, trainer: Any) -> None:
    """Raise ConfigError for a label that is not one of the classes."""
    if int(label.max()) >= number:
        names = getattr(getattr(trainer, "datamodule", None), "labels", None)
        what = f"the labels {', '.join(names)}" if names else f"the label {int(label.max())}"
        raise ConfigError(f"{stage}: num_classes is {number}, but the data has {what}.")


def explain_loss(where: str, loss: float, batch: Mapping[str, Any], features: Tensor, logits: Tensor) -> str:
    """Return a message with the place of a non-finite loss, the clips that caused it, and what to do."""
    if clips := non_finite_clips(batch, features):
        return f"{where}: the loss is {loss}. {explain_clips(clips)}"
    clips = _not_finite(_clips(batch, len(logits)), [logits])
    what = f"the logits of {_names(clips)} are not finite" if clips else "the loss is not finite"
    return (
        f"{where}: the loss is {loss}. The data is finite, but {what}: training has diverged. Use a lower lr in the "
        "stage's section model, or --trainer.gradient_clip_val 0.1. The last good checkpoint is kept."
    )


def explain_clips(clips: Sequence[str]) -> str:
    """Return a message that says that these clips cannot be trained on, and what to do."""
    return f"Data or features of {_names(clips)} are not finite: exclude these clips or replace their files."


def non_finite_clips(batch: Mapping[str, Any], features: Tensor) -> list[str]:
    """Return the clips of a batch with NaN or infinite values in their data or features, (B, ...)."""
    values = [value for value in batch.values() if isinstance(value, Tensor) and value.is_floating_point()]
    return _not_finite(_clips(batch, len(features)), [*values, features])


def _clips(batch: Mapping[str, Any], size: int) -> list[str]:
    return batch.get("clip") or [f"number {index}" for index in range(size)]


def _not_finite(clips: Sequence[str], tensors: Sequence[Tensor]) -> list[str]:
    per_clip = [~torch.isfinite(tensor).reshape(len(tensor), -1).all(dim=1).cpu() for tensor in tensors]
    mask = torch.stack([one for one in per_clip if len(one) == len(clips)]).any(dim=0).tolist()
    return [clip for clip, is_not_finite in zip(clips, mask, strict=True) if is_not_finite]


def _names(clips: Sequence[str]) -> str:
    rest = f" and {len(clips) - _MAX_NAMES} more" if len(clips) > _MAX_NAMES else ""
    return ", ".join(clips[:_MAX_NAMES]) + rest
