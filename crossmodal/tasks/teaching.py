"""What a teacher's outputs ask of the student: a weighted sum of losses, each with a warm-up, over chosen clips."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.losses import LOSSES, LossName, create_loss
from crossmodal.models.outputs import Outputs
from crossmodal.naming import look_up

GateName = Literal["agreement", "teacher_correct"]
UNLABELLED = -1


@dataclass(frozen=True)
class TermSettings:
    """One loss of a teaching.

    Args:
        loss: Its name.
        weight: Beside the task loss.
        warmup: Over what share of all training steps the weight rises from 0, in a straight line.
        kwargs: Arguments of its class.
        over_time: Whether embeddings are compared window by window in place of clip by clip.

    Raises:
        ConfigError: A weight or a share that cannot be, or a loss that compares no embeddings, over time.
    """

    loss: LossName
    weight: float
    warmup: float = 0.0
    kwargs: dict[str, Any] = field(default_factory=dict)
    over_time: bool = False

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ConfigError(f"The weight of the loss {self.loss} must not be negative, it is {self.weight}.")
        if not 0 <= self.warmup <= 1:
            raise ConfigError(
                f"The warm-up of the loss {self.loss} is a share of training, from 0 to 1, not {self.warmup}."
            )
        if self.over_time and LOSSES[self.loss].compares != "embeddings":
            raise ConfigError(f"The loss {self.loss} compares no embeddings: it has no over_time.")

    @classmethod
    def parse(cls, name: str, given: float | Mapping[str, Any] | None) -> "TermSettings":
        """Read ``{weight: 0.1, warmup: 0.2, temperature: 4}``, or a weight alone, as it stands below a loss's name.

        Raises:
            ConfigError: There is no such loss, or it has no weight.
        """
        look_up("loss", LOSSES, name)
        arguments = dict(given) if isinstance(given, Mapping) else {"weight": given}
        weight = arguments.pop("weight", None)
        if not isinstance(weight, int | float):
            raise ConfigError(f"The loss {name} needs a weight: {{{name}: 0.1}}, or {{{name}: {{weight: 0.1}}}}.")
        warmup, over_time = arguments.pop("warmup", 0.0), arguments.pop("over_time", False)
        return cls(name, weight, warmup, arguments, over_time)  # type: ignore[arg-type]

    def weight_at(self, progress: float) -> float:
        """The weight when so much of training, from 0 to 1, is done.

        Example:
            >>> TermSettings("kd", weight=0.4, warmup=0.5).weight_at(0.25)
            0.2
        """
        return self.weight if progress >= self.warmup else self.weight * progress / self.warmup


class Teaching(nn.Module):
    """Losses between what the student and its teacher say of the same clips.

    Args:
        terms: By the name under which each is logged.
        embedding_size: Width of the student's embeddings.
        teacher_embedding_size: Width E of the teacher's.
        teacher_features_size: Width D of what it looks at, for the loss that has the student tell it.
        num_classes: K.
        gate: Which clips the teacher may teach. ``teacher_correct``: those on which it is right, and those without a
            label. ``agreement``: those of which it ranks the emotions as the student does (Kendall's tau above 0), as
            the on-the-fly selection of C2KD does (Huo et al., CVPR 2024). None: all.

    Raises:
        ConfigError: An argument of a loss that cannot be.
    """

    def __init__(
        self,
        terms: Mapping[str, TermSettings],
        embedding_size: int,
        teacher_embedding_size: int,
        teacher_features_size: int,
        num_classes: int,
        gate: GateName | None = None,
    ) -> None:
        super().__init__()
        widths = {"embeddings": teacher_embedding_size, "features": teacher_features_size}
        self.terms = dict(terms)
        self.gate = look_up("gate", _GATES, gate) if gate else None
        self.losses = nn.ModuleDict(
            {
                name: create_loss(term.loss, teacher_embedding_size, num_classes, **term.kwargs)
                for name, term in self.terms.items()
            }
        )
        self.projectors = nn.ModuleDict(
            {
                name: nn.Linear(embedding_size, widths[LOSSES[term.loss].compares])
                for name, term in self.terms.items()
                if LOSSES[term.loss].needs_projection
            }
        )

    @property
    def over_time(self) -> bool:
        """Whether any loss compares windows."""
        return any(term.over_time for term in self.terms.values())

    def forward(
        self, student: Outputs, teacher: Outputs, label: Tensor, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the sum and its parts.

        Args:
            student: What it says, its embeddings of width embedding_size; its windows, as many as the teacher's, where
                a loss is over time.
            teacher: What it says, its embeddings of width E; its features, of width D, where a loss compares them.
            label: (B,), -1 where there is none.
            progress: How much of training is done, from 0 to 1.

        Returns:
            The weighted sum, and each loss by name without its weight; both zero where the gate leaves no clip.
        """
        if self.gate is not None:
            keep = self.gate(student.logits, teacher.logits, label)
            student, teacher = (side.map(lambda tensor: tensor[keep]) for side in (student, teacher))
            label = label[keep]
        zero = student.embedding.sum() * 0 + student.logits.sum() * 0
        parts = {name: self._loss(name, student, teacher, label) if len(label) else zero for name in self.terms}
        return sum((self.terms[name].weight_at(progress) * part for name, part in parts.items()), zero), parts

    def _loss(self, name: str, student: Outputs, teacher: Outputs, label: Tensor) -> Tensor:
        term = self.terms[name]
        entry = LOSSES[term.loss]
        if term.over_time:
            ours, theirs = _windows(student), _windows(teacher)
            label = label.repeat_interleave(len(ours) // len(label))
        elif entry.compares == "logits":
            ours, theirs = student.logits, teacher.logits
        elif entry.compares == "features":
            ours, theirs = student.embedding, _features(teacher)
        else:
            ours, theirs = student.embedding, teacher.embedding
        if name in self.projectors:
            ours = self.projectors[name](ours)
        value: Tensor = self.losses[name](ours, theirs, label) if entry.needs_label else self.losses[name](ours, theirs)
        return value


def _windows(outputs: Outputs) -> Tensor:
    """Embeddings of all windows of all clips, (B * N, E)."""
    if outputs.windows is None:
        raise ConfigError(
            "There is nothing to compare over time: the teacher says one thing of a whole clip. It needs faces over "
            "time: pixels, or face features with a row for each video frame."
        )
    return outputs.windows.flatten(0, 1)


def _features(teacher: Outputs) -> Tensor:
    if teacher.features is None:
        raise ConfigError("The teacher's outputs lack what it looked at: store them anew with `crossmodal fit`.")
    return teacher.features


def _teacher_correct(student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
    return (teacher.argmax(dim=1) == label) | (label == UNLABELLED)


def _agreement(student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
    """Kendall's tau of the logits above 0: more pairs of classes are ranked alike than not."""
    order = [(logits[:, :, None] - logits[:, None, :]).sign() for logits in (student.detach(), teacher)]
    return (order[0] * order[1]).sum(dim=(1, 2)) > 0


_GATES = {"agreement": _agreement, "teacher_correct": _teacher_correct}
