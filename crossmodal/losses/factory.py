"""Losses by name."""
# To add one, write a class in the file of its category, and add its name to the Literal and to the dict below it.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.losses.alignment import CosineAlignmentLoss, StandardizedMSELoss
from crossmodal.losses.contrastive import CrossModalSupConLoss
from crossmodal.losses.distillation import DISTLoss, KnowledgeDistillationLoss, LogitStandardizedKDLoss
from crossmodal.losses.relational import RKDLoss
from crossmodal.naming import Part

KDLossName = Literal["dist", "kd", "logit_std"]
AlignLossName = Literal["cosine", "mse", "rkd", "supcon"]
LossName = Literal[KDLossName, AlignLossName]


Compared = Literal["logits", "embeddings"]
_REGRESSION = (nn.HuberLoss, nn.L1Loss, nn.MSELoss, nn.SmoothL1Loss)
_OF_PROBABILITIES = (nn.CrossEntropyLoss, nn.KLDivLoss)


@dataclass(frozen=True)
class LossEntry:
    """Description of a loss for the training step."""

    make: Callable[..., nn.Module]
    compares: Compared
    needs_label: bool = False  # (B,), -1 for unlabelled clips, as a third argument
    needs_projection: bool = False  # of the student's embedding to the width of the teacher's


class Loss(NamedTuple):
    """A loss as the user gives it, and its description."""

    part: Part
    entry: LossEntry

    def create(self, num_features: int, num_classes: int, temperature: float | None = None) -> nn.Module:
        """Create the module, with the arguments that it takes and that the user does not set."""
        ours = {"num_features": num_features, "num_classes": num_classes, "temperature": temperature}
        known = {name: value for name, value in ours.items() if value is not None and name not in self.part.kwargs}
        made: nn.Module = self.part.create(known)
        return _ProbabilityLoss(made, temperature or 1.0) if isinstance(made, _OF_PROBABILITIES) else made


LOSSES: dict[LossName, LossEntry] = {
    "dist": LossEntry(DISTLoss, "logits"),
    "kd": LossEntry(KnowledgeDistillationLoss, "logits"),
    "logit_std": LossEntry(LogitStandardizedKDLoss, "logits"),
    "cosine": LossEntry(CosineAlignmentLoss, "embeddings", needs_projection=True),
    "mse": LossEntry(StandardizedMSELoss, "embeddings", needs_projection=True),
    "rkd": LossEntry(RKDLoss, "embeddings"),
    "supcon": LossEntry(CrossModalSupConLoss, "embeddings", needs_label=True, needs_projection=True),
}
KD_LOSSES = {name: entry for name, entry in LOSSES.items() if entry.compares == "logits"}
ALIGN_LOSSES = {name: entry for name, entry in LOSSES.items() if entry.compares == "embeddings"}


def parse_loss(
    given: Any,
    kwargs: Mapping[str, Any] | None = None,
    names: Mapping[Any, LossEntry] = LOSSES,
    compares: Compared = "logits",
) -> Loss:
    """Return a loss that is given by a name of `names`, a class path, ``{class_path, init_args}``, a class or a module.

    A class of the user states in attributes what its ``forward`` gets: ``compares`` (default: as given here),
    ``needs_label`` and ``needs_projection``; see `LossEntry`. Torch's regression losses get what is compared here.
    `nn.KLDivLoss` and `nn.CrossEntropyLoss` get the student's log-softmax and the teacher's softmax (log-softmax with
    ``log_target=True``) of logits divided by the temperature, and are multiplied by its square, as the loss ``kd``.
    """
    part = Part.parse("loss", {name: entry.make for name, entry in names.items()}, given, kwargs, nn.Module)
    for entry in LOSSES.values():
        if entry.make is part.make:
            return Loss(part, entry)
    if part.make.__module__ == nn.MSELoss.__module__ and part.make not in (*_REGRESSION, *_OF_PROBABILITIES):
        raise ConfigError(f"The loss {part.name} takes other arguments than two tensors: write a class that calls it.")
    states = part.instance or part.make
    stated = getattr(states, "compares", compares)
    is_projected = getattr(states, "needs_projection", stated == "embeddings" and part.make in _REGRESSION)
    if stated not in get_args(Compared) or (is_projected and stated == "logits"):
        raise ConfigError(
            f"The loss {part.name} compares {stated!r}: choose embeddings, or logits without a projection."
        )
    return Loss(part, LossEntry(part.make, stated, getattr(states, "needs_label", False), is_projected))


def create_loss(name: LossName, num_features: int, num_classes: int, **kwargs: Any) -> nn.Module:
    """Create a loss by name; its entry in `LOSSES` describes the inputs of its ``forward``.

    `num_features`, the width of the teacher's embeddings, and `num_classes` are for the losses that need them. `kwargs`
    are additional arguments of its class; None means the default where None is not a valid value.

    Raises:
        ConfigError: If the loss or an argument does not exist.
        ValueError: If an argument has an invalid value.

    Examples:
        >>> create_loss("mse", num_features=128, num_classes=8).student_norm.num_features
        128
        >>> LOSSES["mse"].compares, LOSSES["mse"].needs_projection, LOSSES["mse"].needs_label
        ('embeddings', True, False)
    """
    return parse_loss(name, kwargs).create(num_features, num_classes)


class _ProbabilityLoss(nn.Module):
    """A loss of torch between probabilities, on logits divided by the temperature."""

    def __init__(self, loss: nn.Module, temperature: float) -> None:
        super().__init__()
        self.loss, self.temperature = loss, temperature

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        student = F.log_softmax(student_logits / self.temperature, dim=1)
        teacher = F.log_softmax(teacher_logits.detach() / self.temperature, dim=1)
        target = teacher if getattr(self.loss, "log_target", False) else teacher.exp()
        loss: Tensor = self.loss(student, target)
        return self.temperature**2 * loss
