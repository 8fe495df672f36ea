"""The second stage, in which the face model teaches the voice model."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from crossmodal.batch import Batch
from crossmodal.errors import ConfigError, LeakageError
from crossmodal.losses import ALIGN_LOSSES, KD_LOSSES, Loss, LossName, parse_loss
from crossmodal.models import FaceClassifier
from crossmodal.models.outputs import Outputs
from crossmodal.models.own_teacher import OwnTeacher
from crossmodal.models.serialization import load_model
from crossmodal.own_code import is_class_path
from crossmodal.tasks.base import Losses
from crossmodal.tasks.distillation_objective import DistillationObjective, LossTerm
from crossmodal.tasks.finetune import FinetuneTask
from crossmodal.tasks.part_types import AlignLossType, KDLossType
from crossmodal.transforms import random_horizontal_flip

UNKNOWN_ACTORS = (
    "The actors that the teacher of your own was trained on are unknown, so it may leak the test actors. State them in "
    "teacher_actors: a list of actors of this corpus, [] if there are none, or unknown to accept the leak."
)
_SIZES = {"num_features", "num_classes", "temperature"}  # arguments of losses that the task sets


class TransferTask(FinetuneTask):
    """Train the student on the labels, on the teacher's logits (KD) and on its embeddings (alignment).

    A batch has ``label``, ``waveform``, ``waveform_length`` and, for training, ``teacher_embedding`` and
    ``teacher_logits``; or, with a live `teacher`, its input ``faces`` or ``face_embeddings``.

    Args:
        kd_loss: Loss between the logits; None to disable. A name, a class path, ``{class_path, init_args}``, a
            class or a module; see `crossmodal.losses.parse_loss` for classes of your own and of torch.
        kd_loss_weight: Weight of the KD loss; the task loss has weight 1 by default.
        temperature: Temperature of the KD loss, if it takes one.
        align_loss: Loss between the embeddings, given as `kd_loss`; the student's pass through a linear projector if
            the loss needs the teacher's width. None to disable.
        align_loss_weight: Weight of the alignment loss.
        more_losses: Additional losses by name or class path, each with its weight, or with ``weight`` and its own
            arguments: ``{rkd: 0.1, supcon: {weight: 0.05, temperature: 0.1}}``.
        teach_labelled: Whether labelled clips learn from the teacher too, whose outputs for its own training clips may
            be no more than their labels. A clip that is taught has the same weight either way.
        task_loss_weight: Weight of the cross-entropy on the labels; with 0 the student is pre-trained from the teacher
            alone, and the last epoch is used.
        teacher_embedding_size: Width E of the teacher's embeddings.
        teacher: Path of a trained teacher to run in each step, or a classifier of your own, see
            `crossmodal.models.own_teacher.OwnTeacher`. Stored teacher outputs are many times faster.
        teacher_actors: Actors that a teacher of your own has seen, ``[]`` if none of the corpus, or ``unknown``.
        horizontal_flip: Probability of flipping the faces of a clip for such a teacher.
        student: Arguments of `FinetuneTask`.

    Raises:
        ConfigError: If a setting is invalid, such as the same loss twice; or if the teacher has another embedding size
            or number of classes.
    """

    stage: ClassVar[str] = "transfer"
    ignored_hyperparameters: ClassVar[tuple[str, ...]] = (*FinetuneTask.ignored_hyperparameters, "teacher")

    def __init__(
        self,
        kd_loss: KDLossType | None = "kd",
        kd_loss_weight: float = 0.3,
        temperature: float = 2.0,
        align_loss: AlignLossType | None = "mse",
        align_loss_weight: float = 0.1,
        more_losses: dict[LossName | str, float | dict[str, Any]] | None = None,
        teach_labelled: bool = True,
        task_loss_weight: float = 1.0,
        teacher_embedding_size: int = 128,
        teacher: str | dict[str, Any] | Any | None = None,
        teacher_actors: list[str | int] | Literal["unknown"] | None = None,
        horizontal_flip: float = 0.5,
        **student: Any,
    ) -> None:
        super().__init__(**student)
        self.horizontal_flip = horizontal_flip
        self.task_loss_weight = task_loss_weight
        more = [(LossTerm.parse(loss, settings), settings) for loss, settings in (more_losses or {}).items()]
        self.hparams["more_losses"] = {term.loss.part.name: settings for term, settings in more}
        terms = {term.loss.part.name.replace(".", "_"): term for term, _ in more}
        if kd_loss is not None:
            loss = self._parse_loss("kd_loss", kd_loss, terms)
            terms["kd_loss"] = LossTerm(loss, kd_loss_weight, temperature)
        if align_loss is not None:
            loss = self._parse_loss("align_loss", align_loss, terms)
            terms["align_loss"] = LossTerm(loss, align_loss_weight)
        num_classes, embedding_size = self.model.classes_and_width
        self.teaching = DistillationObjective(
            terms, embedding_size, teacher_embedding_size, num_classes, teach_labelled
        )
        # A tuple keeps it from being a submodule: it is not in checkpoints or the optimizer and ignores train().
        self._teacher: tuple[FaceClassifier | OwnTeacher, ...] = ()
        self._teacher_actors: Collection[str] = ()
        if teacher is not None:
            self._load_teacher(teacher, teacher_actors, teacher_embedding_size)

    def _parse_loss(self, argument: str, given: Any, others: Mapping[str, LossTerm]) -> Loss:
        """Parse `kd_loss` or `align_loss`; checkpoints hold the path of a class, and no code."""
        is_kd = argument == "kd_loss"
        loss = parse_loss(given, None, KD_LOSSES if is_kd else ALIGN_LOSSES, "logits" if is_kd else "embeddings")
        name = loss.part.name
        if name in [other.loss.part.name for other in others.values()]:
            raise ConfigError(f"The loss {name} is in more_losses and is also {argument}: remove one of them.")
        if (loss.entry.compares == "logits") != is_kd:
            other = "align_loss" if is_kd else "kd_loss"
            raise ConfigError(f"The loss {name} compares {loss.entry.compares}: set {other}, not {argument}.")
        if not isinstance(given, str | Mapping):
            ours = [] if loss.part.instance is not None else _SIZES - loss.part.kwargs.keys()
            self.hparams[argument] = {"class_path": name, "init_args": loss.part.stored_kwargs(ours)}
        return loss

    def _load_teacher(self, teacher: Any, actors: Collection[Any] | None, teacher_embedding_size: int) -> None:
        if not isinstance(teacher, str) or (is_class_path(teacher) and not teacher.endswith(".safetensors")):
            if actors is None:
                raise LeakageError(UNKNOWN_ACTORS)
            self._teacher, self._teacher_actors = (OwnTeacher(teacher),), () if actors == "unknown" else actors
            return
        model, about = load_model(FaceClassifier, teacher)
        if model.encoder.out_features != teacher_embedding_size:
            raise ConfigError(
                f"{teacher} has embeddings of width {model.encoder.out_features}, but teacher_embedding_size is "
                f"{teacher_embedding_size}. Set teacher_embedding_size to {model.encoder.out_features}."
            )
        self._teacher = (model.eval().requires_grad_(False),)
        self._teacher_actors = about["train_actors"]

    def on_fit_start(self) -> None:
        """Check that a live teacher was not trained on held-out actors, and move it to the device."""
        datamodule = getattr(self.trainer, "datamodule", None)
        trained_on = {str(actor).lstrip("0") for actor in self._teacher_actors}
        held_out: set[str] = getattr(datamodule, "held_out_actors", set())
        if seen := {actor for actor in held_out if actor.lstrip("0") in trained_on}:
            raise LeakageError(
                f"The teacher was trained on actors {', '.join(sorted(seen))}, which are validation or test actors "
                "here. Train a teacher on the training actors of this fold."
            )
        self._teacher = tuple(teacher.to(self.device) for teacher in self._teacher)

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """Compute the task loss and, in training, the weighted distillation losses."""
        if not self.training:
            return super().compute_losses(batch)
        teacher = self._teacher_outputs(batch)
        embedding = self.embed(batch)
        outputs = Outputs(embedding, self.model.classify(embedding))
        label = self.gather_clips(batch["label"])
        student, teacher = (side.map(self.gather_clips) for side in (outputs, teacher))
        task_loss = self.task_loss(student.logits, label)
        distillation_loss, terms = self.teaching(student, teacher, label)
        loss = self.task_loss_weight * task_loss + distillation_loss
        return outputs.logits, {"loss": loss, "task_loss": task_loss, **terms}

    @torch.no_grad()
    def _teacher_outputs(self, batch: Batch) -> Outputs:
        if batch.keys() & {f"teacher_{name}" for name in Outputs._fields}:
            return Outputs._make(batch.get(f"teacher_{name}") for name in Outputs._fields)
        if not self._teacher:
            raise ConfigError(
                "There is no teacher: pass teacher_outputs, which `crossmodal fit` stores, to the datamodule, or a "
                "teacher's file to the task."
            )
        if "faces" in batch:
            batch = {**batch, "faces": random_horizontal_flip(batch["faces"], self.horizontal_flip)}
        return self._teacher[0].predict_batch(batch)
