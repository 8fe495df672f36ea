"""Weighted sum of losses between student and teacher, with warm-up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.losses import Loss, parse_loss
from crossmodal.models.outputs import Outputs
from crossmodal.own_code import own_errors


@dataclass(frozen=True)
class LossTerm:
    """One loss of a distillation objective; its weight, relative to the task loss, increases from 0 in the warm-up.

    `warmup` is a fraction of all training steps, and `temperature` is for losses that take one.
    """

    loss: Loss
    weight: float
    warmup: float = 0.0
    temperature: float | None = None

    def __post_init__(self) -> None:
        name = self.loss.part.name
        if self.weight < 0:
            raise ConfigError(f"The weight of loss {name} must not be negative, got {self.weight}.")
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"The warmup of loss {name} must be a fraction from 0 to 1, got {self.warmup}.")

    @classmethod
    def parse(cls, name: str | type[nn.Module], settings: float | Mapping[str, Any] | None) -> "LossTerm":
        """Parse the settings of a loss, ``{weight: 0.1, warmup: 0.2, temperature: 4}`` or a weight alone."""
        arguments: dict[str, Any] = dict(settings) if isinstance(settings, Mapping) else {"weight": settings}
        weight, warmup = arguments.pop("weight", None), arguments.pop("warmup", 0.0)
        loss = parse_loss(name, arguments)
        if not isinstance(weight, int | float):
            raise ConfigError(f"The loss {name} needs a weight: {{{name}: 0.1}}, or {{{name}: {{weight: 0.1}}}}.")
        return cls(loss, weight, warmup)

    def weight_at(self, progress: float) -> float:
        """Return the weight at a progress of training from 0 to 1."""
        return self.weight if progress >= self.warmup else self.weight * progress / self.warmup


class DistillationObjective(nn.Module):
    """Losses between the outputs of student and teacher for the same clips, by their logged names."""

    def __init__(
        self, terms: Mapping[str, LossTerm], embedding_size: int, teacher_embedding_size: int, num_classes: int
    ) -> None:
        super().__init__()
        self.terms = dict(terms)
        self.losses, self.projectors = nn.ModuleDict(), nn.ModuleDict()
        for name, term in self.terms.items():
            self.losses[name] = term.loss.create(teacher_embedding_size, num_classes, term.temperature)
        for name, term in self.terms.items():
            if term.loss.entry.needs_projection:
                self.projectors[name] = nn.Linear(embedding_size, teacher_embedding_size)

    def forward(
        self, student: Outputs, teacher: Outputs, label: Tensor, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the weighted sum, and each loss by name without its weight.

        Labels, (B,), are -1 for unlabelled clips, and `progress` of training is from 0 to 1.
        """
        zero = student.embedding.sum() * 0 + student.logits.sum() * 0
        parts = {name: self._loss(name, student, teacher, label) for name in self.terms}
        return sum((self.terms[name].weight_at(progress) * part for name, part in parts.items()), zero), parts

    def _loss(self, name: str, student: Outputs, teacher: Outputs, label: Tensor) -> Tensor:
        term = self.terms[name]
        entry = term.loss.entry
        compared = "logits" if entry.compares == "logits" else "embedding"
        prediction, target = getattr(student, compared), getattr(teacher, compared)
        if name in self.projectors:
            prediction = self.projectors[name](prediction)
        if target is None:
            raise ConfigError(
                f"The loss {term.loss.part.name} compares {entry.compares}, but the teacher outputs have none. Store "
                "them again with `crossmodal fit`; or if the teacher has none, disable the loss with null."
            )
        arguments = (prediction, target, label) if entry.needs_label else (prediction, target)
        own, shapes = f"The loss {term.loss.part.name}", ", ".join(str(tuple(one.shape)) for one in arguments)
        with own_errors(f"{own} failed on tensors of shapes {shapes}"):
            value = self.losses[name](*arguments)
        if not isinstance(value, Tensor) or value.ndim:
            found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(f"{own} must return a tensor with one number, the mean over clips, not {found}.")
        return value
