"""Weighted sum of losses between student and teacher."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from crossmodal.batch import UNLABELLED
from crossmodal.errors import ConfigError
from crossmodal.losses import Loss, parse_loss
from crossmodal.models.outputs import Outputs
from crossmodal.own_code import own_errors


@dataclass(frozen=True)
class LossTerm:
    """One loss of a distillation objective; its weight is relative to the task loss, and not all take a temperature."""

    loss: Loss
    weight: float
    temperature: float | None = None

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ConfigError(f"The weight of loss {self.loss.part.name} must not be negative, got {self.weight}.")

    @classmethod
    def parse(cls, name: str | type[nn.Module], settings: float | Mapping[str, Any] | None) -> "LossTerm":
        """Parse the settings of a loss, ``{weight: 0.1, temperature: 4}`` or a weight alone."""
        arguments: dict[str, Any] = dict(settings) if isinstance(settings, Mapping) else {"weight": settings}
        weight = arguments.pop("weight", None)
        loss = parse_loss(name, arguments)
        if not isinstance(weight, int | float):
            raise ConfigError(f"The loss {name} needs a weight: {{{name}: 0.1}}, or {{{name}: {{weight: 0.1}}}}.")
        return cls(loss, weight)


class DistillationObjective(nn.Module):
    """Losses between outputs of student and teacher, by logged name; `teach_labelled`: whether labelled clips count."""

    def __init__(
        self,
        terms: Mapping[str, LossTerm],
        embedding_size: int,
        teacher_embedding_size: int,
        num_classes: int,
        teach_labelled: bool = True,
    ) -> None:
        super().__init__()
        self.teach_labelled = teach_labelled
        self.terms = dict(terms)
        self.losses, self.projectors = nn.ModuleDict(), nn.ModuleDict()
        for name, term in self.terms.items():
            self.losses[name] = term.loss.create(teacher_embedding_size, num_classes, term.temperature)
        for name, term in self.terms.items():
            if term.loss.entry.needs_projection:
                self.projectors[name] = nn.Linear(embedding_size, teacher_embedding_size)

    def forward(self, student: Outputs, teacher: Outputs, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the weighted sum, and each loss by name without its weight; labels, (B,), are -1 if unknown."""
        zero = student.embedding.sum() * 0 + student.logits.sum() * 0
        share = 1.0
        if not self.teach_labelled:
            taught = label == UNLABELLED
            student, teacher = (side.map(lambda rows: rows[taught]) for side in (student, teacher))
            share, label = float(taught.float().mean()), label[taught]
        parts = {name: self._loss(name, student, teacher, label) if share else zero for name in self.terms}
        return sum((share * self.terms[name].weight * part for name, part in parts.items()), zero), parts

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
