"""The second stage: the face model teaches the voice model."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError, LeakageError
from crossmodal.losses import AlignLossName, KDLossName, create_align_loss, create_kd_loss
from crossmodal.models import FaceClassifier
from crossmodal.models.handover import load_model
from crossmodal.tasks.base import Batch, Losses
from crossmodal.tasks.finetune import FinetuneTask


class TransferTask(FinetuneTask):
    """Train the student on the labels, on the teacher's logits (KD) and on its embeddings (alignment).

    A batch holds ``label``, ``waveform``, ``waveform_length`` and, for training, ``teacher_embedding`` and
    ``teacher_logits``; or, with a live `teacher`, the ``faces`` or ``face_embeddings`` that it looks at.

    Args:
        kd_loss: The loss between the logits; None for none.
        kd_loss_weight: Its weight beside the task loss, which has weight 1.
        temperature: Of the logits in it.
        align_loss: The loss between the embeddings, the student's taken through a linear projector; None for none.
        align_loss_weight: Its weight.
        teacher_embedding_size: Width E of the teacher's embeddings.
        teacher: A trained teacher's file, to be run in each step. Stored teacher outputs are many times faster.
        student: Arguments of `FinetuneTask`.

    Raises:
        ConfigError: The teacher's file says another embedding size or number of classes, or a live teacher is to be
            used with mixup.
    """

    stage: ClassVar[str] = "transfer"
    ignored_hyperparameters: ClassVar[tuple[str, ...]] = ("weights", "teacher")

    def __init__(
        self,
        kd_loss: KDLossName | None = "logit_std",
        kd_loss_weight: float = 0.3,
        temperature: float = 2.0,
        align_loss: AlignLossName | None = "mse",
        align_loss_weight: float = 0.5,
        teacher_embedding_size: int = 128,
        teacher: str | None = None,
        **student: Any,
    ) -> None:
        super().__init__(**student)
        self.kd_loss_weight, self.align_loss_weight = kd_loss_weight, align_loss_weight
        self.kd_loss = create_kd_loss(kd_loss, temperature=temperature) if kd_loss else None
        self.align_loss = create_align_loss(align_loss, teacher_embedding_size) if align_loss else None
        self.projector = nn.Linear(self.model.config["embedding_size"], teacher_embedding_size) if align_loss else None
        # In a tuple, so that it is no submodule: in no checkpoint, no optimizer, and deaf to train().
        self._teacher: tuple[FaceClassifier, ...] = ()
        self._teacher_actors: set[str] = set()
        if teacher:
            if self.augmentation.mixup is not None:
                raise ConfigError(
                    "mixup needs stored teacher outputs, which it mixes as it mixes the voices; a live teacher would "
                    "look at faces that are not mixed. Leave out mixup or the teacher's file."
                )
            model, about = load_model(FaceClassifier, teacher)
            if model.encoder.out_features != teacher_embedding_size:
                raise ConfigError(
                    f"{teacher} gives embeddings of width {model.encoder.out_features}: "
                    f"set teacher_embedding_size to it (it is {teacher_embedding_size})."
                )
            self._teacher = (model.eval().requires_grad_(False),)
            self._teacher_actors = set(about["train_actors"])

    def on_fit_start(self) -> None:
        """Refuse a live teacher that knows a held-out actor, and bring it to the device."""
        datamodule = getattr(self.trainer, "datamodule", None)
        seen = self._teacher_actors & getattr(datamodule, "held_out_actors", set())
        if seen:
            raise LeakageError(
                f"The teacher was trained on actors {', '.join(sorted(seen))}, who are validation or test actors here. "
                "Train a teacher on this fold's training actors."
            )
        self._teacher = tuple(teacher.to(self.device) for teacher in self._teacher)

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """The task loss; in training also KD and alignment, each with its weight, each logged."""
        embedding = self.embed(batch)
        logits = self.model.classify(embedding)
        losses = {"loss": self.task_loss(logits, batch)}
        if self.training:
            losses |= self._teaching(embedding, logits, losses["loss"], *self._teacher_outputs(batch))
        return logits, losses

    def _teaching(
        self, embedding: Tensor, logits: Tensor, task_loss: Tensor, teacher_embedding: Tensor, teacher_logits: Tensor
    ) -> Losses:
        losses = {"task_loss": task_loss, "loss": task_loss}
        if self.kd_loss is not None:
            losses["kd_loss"] = self.kd_loss(logits, teacher_logits)
            losses["loss"] = losses["loss"] + self.kd_loss_weight * losses["kd_loss"]
        if self.align_loss is not None and self.projector is not None:
            losses["align_loss"] = self.align_loss(self.projector(embedding), teacher_embedding)
            losses["loss"] = losses["loss"] + self.align_loss_weight * losses["align_loss"]
        return losses

    @torch.no_grad()
    def _teacher_outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the teacher says of the batch: stored, or said now."""
        if "teacher_logits" in batch:
            return batch["teacher_embedding"], batch["teacher_logits"]
        if not self._teacher:
            raise ConfigError(
                "There is no teacher: give the datamodule teacher_outputs, as `crossmodal fit` stores them, "
                "or the task a teacher's file."
            )
        faces = batch["face_embeddings"] if "face_embeddings" in batch else batch["faces"]
        embedding = self._teacher[0].embed(faces)
        return embedding, self._teacher[0].classify(embedding)
