"""The section `teaching` of a run: the teachers, and how their outputs are combined."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from torch import nn

from crossmodal.errors import ConfigError, LeakageError
from crossmodal.tasks import TeacherTask
from crossmodal.tasks.transfer import UNKNOWN_ACTORS

TeacherKind = Literal["face", "voice", "both"]
# The stages that train each kind of teacher; a voice teacher is trained like the student's control, in one stage.
STAGES_OF = {"face": ("teacher",), "voice": ("supervised",), "both": ("teacher", "supervised")}

_OF_TRAINED_TEACHERS = ("by", "cross_fit")  # settings without a teacher of one's own


@dataclass(frozen=True)
class TeachingSettings:
    """Settings of the teachers.

    Args:
        by: Kind of teacher. ``face``: the face model. ``voice``: a voice model like the student; this is
            self-distillation, the control for the claim that the face helps. ``both``: late fusion of both; logits
            are summed, embeddings are concatenated.
        cross_fit: Number of groups of training actors for cross-fitting (Wolpert's stacking, 1992): the logits of a
            group's clips come from teachers that were not trained on the group. A teacher's outputs for clips that it
            has memorised carry no more than the label. 0 trains one teacher on all actors. Embeddings always come from
            one network, because those of different networks are not comparable.
        calibrate: Divide logits by the temperature that fits the validation clips best (Guo et al., ICML 2017,
            arXiv:1706.04599).
        shuffle: Give each clip the outputs for another clip of the same actor and emotion. This is a control: if a
            student gains as much, the face adds no information about the individual clip.
        teacher: Trained classifier of your own in place of the stage ``teacher``: a class path, or ``{class_path,
            init_args}``; see `crossmodal.models.own_teacher.OwnTeacher`.
        teacher_actors: Actors of the corpus that `teacher` was trained or selected on, ``[]`` if none. It is refused
            if one of them is a validation or test actor. ``unknown`` marks all results as speaker-dependent.

    Raises:
        ConfigError: If a value is invalid.
    """

    by: TeacherKind = "face"
    cross_fit: int = 0
    calibrate: bool = False
    shuffle: bool = False
    teacher: str | nn.Module | None = None
    teacher_actors: list[str | int] | Literal["unknown"] | None = None

    def __post_init__(self) -> None:
        if self.cross_fit == 1 or self.cross_fit < 0:
            raise ConfigError(f"teaching.cross_fit must be 0, or at least 2 groups, not {self.cross_fit}.")
        changed = {one.name for one in fields(self) if getattr(self, one.name) != one.default}
        if self.teacher and (excluded := changed.intersection(_OF_TRAINED_TEACHERS)):
            raise ConfigError(f"teaching.teacher is trained already: remove teaching.{min(excluded)}.")
        if self.teacher and self.teacher_actors is None:
            raise LeakageError(UNKNOWN_ACTORS)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that train the teachers."""
        return ("own",) if self.teacher else STAGES_OF[self.by]

    @property
    def known_actors(self) -> list[str]:
        """The known actors of a teacher of one's own."""
        return [str(actor) for actor in self.teacher_actors or ()] if self.teacher_actors != "unknown" else []


def teacher_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the stage ``teacher``, with the defaults of its task."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(TeacherTask).parameters.items()}
    return defaults | settings.get("teacher", {}).get("model", {})
