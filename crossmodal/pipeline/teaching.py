"""The section `teaching` of a run: who teaches, and how what they say is made worth learning from."""

from dataclasses import dataclass, fields
from typing import Literal

from crossmodal.errors import ConfigError

TeacherKind = Literal["face", "voice", "both"]
# Which stages a kind of teacher is trained as: a teacher that hears is trained as the student's control is.
STAGES_OF: dict[TeacherKind, tuple[str, ...]] = {
    "face": ("teacher",),
    "voice": ("control",),
    "both": ("teacher", "control"),
}


@dataclass(frozen=True)
class TeachingSettings:
    """Who teaches, and how what they say is made worth learning from.

    Args:
        by: ``face``: the face model. ``voice``: a voice model like the student, which is self-distillation, and the
            control for the claim that it is the face that helps. ``both``: their late fusion, a teacher that also
            hears; its logits are the sum of theirs, its embedding stands side by side.
        cross_fit: In how many groups the training actors are divided, so that what is said of a group's clips comes
            from teachers that were not trained on it (Wolpert's stacking, 1992): of clips that it has learnt by heart
            a teacher says nothing but the label. 0 for a teacher trained on all of them. Embeddings of different
            networks have nothing in common, so those are always of one network.
        num_teachers: How many are trained, with other seeds; their logits are averaged.
        calibrate: Whether logits are divided by the temperature that fits the validation clips best (Guo et al., ICML
            2017, arXiv:1706.04599).
        correct_prior: Whether what a teacher says more often of training clips than other classes is taken off its
            logits (Menon et al., ICLR 2021, arXiv:2007.07314).
        shuffle: Whether each clip gets what is said of another clip of the same actor and emotion: a control. If a
            student gains as much from it, the face taught it nothing of the clip that it belongs to.
        general_share: Which share of the teacher's embedding is taught: the dimensions that sound tells best of actors
            whom it has not met, as the Modality Focusing Hypothesis has it (see
            `crossmodal.pipeline.stored.modality_general.general_dimensions`). 1 for all.
        live: Whether the teacher looks at every batch anew, at pixels mirrored by chance, in place of answers stored
            once; many times slower. None of the above goes with it, nor `mirror`.
        mirror: Whether a teacher that looks at pixels also sees each face mirrored, and says the mean of both.

    Raises:
        ConfigError: A number that cannot be.
    """

    by: TeacherKind = "face"
    cross_fit: int = 0
    num_teachers: int = 1
    calibrate: bool = False
    correct_prior: bool = False
    shuffle: bool = False
    live: bool = False
    mirror: bool = False
    general_share: float = 1.0

    def __post_init__(self) -> None:
        if self.cross_fit == 1 or self.cross_fit < 0:
            raise ConfigError(f"teaching.cross_fit must be 0, or a number of groups from 2 on, not {self.cross_fit}.")
        if self.num_teachers < 1:
            raise ConfigError(f"teaching.num_teachers must be 1 or more, not {self.num_teachers}.")
        others = [one.name for one in fields(self) if one.name != "live" and getattr(self, one.name) != one.default]
        if self.live and others:
            raise ConfigError(
                f"teaching.live is one face teacher that is asked in each step: leave out teaching.{others[0]}."
            )
        if not 0 < self.general_share <= 1:
            raise ConfigError(f"teaching.general_share must be above 0, and 1 at most, not {self.general_share}.")

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that this teaching stands on."""
        return STAGES_OF[self.by]
