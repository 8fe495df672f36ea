"""The second stage: the face model teaches the voice model."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from crossmodal.errors import ConfigError, LeakageError
from crossmodal.losses import AlignLossName, KDLossName, LossName, list_align_losses, list_kd_losses
from crossmodal.models import FaceClassifier
from crossmodal.models.handover import load_model
from crossmodal.models.outputs import Outputs
from crossmodal.naming import look_up
from crossmodal.tasks.base import Batch, Losses
from crossmodal.tasks.finetune import FinetuneTask
from crossmodal.tasks.teaching import GateName, Teaching, TermSettings
from crossmodal.transforms import RandomCrop, TimeShift, random_horizontal_flip


class TransferTask(FinetuneTask):
    """Train the student on the labels, on the teacher's logits (KD) and on its embeddings (alignment).

    A batch holds ``label``, ``waveform``, ``waveform_length`` and, for training, ``teacher_embedding``,
    ``teacher_logits`` and what else is stored of `crossmodal.models.outputs.Outputs`; or, with a live `teacher`, the
    ``faces`` or ``face_embeddings`` that it looks at.

    Args:
        kd_loss: The loss between the logits; None for none.
        kd_loss_weight: Its weight beside the task loss, which has weight 1.
        kd_loss_warmup: Over what share of training its weight rises from 0.
        temperature: Of the logits in it.
        align_loss: The loss between the embeddings, the student's taken through a linear projector where it needs the
            teacher's width; None for none.
        align_loss_weight: Its weight.
        align_loss_warmup: Over what share of training its weight rises from 0.
        align_loss_over_time: Whether it compares embeddings of parts of a clip, as many as the teacher has video frames
            of it, in place of whole clips. Voice and face must keep in step: with ``silence_db: null`` for the front
            end, and no augmentation that moves sound in time.
        more_losses: Further ones by name, each with its weight, or with ``weight``, ``warmup``, ``over_time`` and its
            own arguments: ``{rkd: 0.1, supcon: {weight: 0.05, warmup: 0.2, temperature: 0.1}}``.
        gate: Which clips the teacher may teach; see `crossmodal.tasks.teaching.Teaching`.
        task_loss_weight: Of the cross-entropy on the labels; 0 to pre-train on teaching alone, of which the last epoch
            is then kept.
        teacher_embedding_size: Width E of the teacher's embeddings.
        teacher_features_size: Width D of what the teacher looks at; only the loss ``regression`` has to know it.
        teacher: A trained teacher's file, to be run in each step. Stored teacher outputs are many times faster.
        horizontal_flip: Probability that such a teacher looks at a clip's face mirrored.
        student: Arguments of `FinetuneTask`.

    Raises:
        ConfigError: A setting that cannot be, such as the same loss twice; or the teacher's file says another embedding
            size or number of classes, or a live teacher is to be used with mixup.
    """

    stage: ClassVar[str] = "transfer"
    ignored_hyperparameters: ClassVar[tuple[str, ...]] = ("weights", "teacher")

    def __init__(
        self,
        kd_loss: KDLossName | None = "logit_std",
        kd_loss_weight: float = 0.3,
        kd_loss_warmup: float = 0.0,
        temperature: float = 2.0,
        align_loss: AlignLossName | None = "mse",
        align_loss_weight: float = 0.5,
        align_loss_warmup: float = 0.0,
        align_loss_over_time: bool = False,
        more_losses: dict[LossName, float | dict[str, Any]] | None = None,
        gate: GateName | None = None,
        task_loss_weight: float = 1.0,
        teacher_embedding_size: int = 128,
        teacher_features_size: int = 1,
        teacher: str | None = None,
        horizontal_flip: float = 0.5,
        **student: Any,
    ) -> None:
        super().__init__(**student)
        self.horizontal_flip = horizontal_flip
        self.task_loss_weight = task_loss_weight
        self._total_steps = 1.0
        terms = {str(name): TermSettings.parse(name, given) for name, given in (more_losses or {}).items()}
        if twice := terms.keys() & {kd_loss, align_loss}:
            raise ConfigError(f"The loss {twice.pop()} is named twice, in more_losses and beside it: leave out one.")
        if kd_loss:
            look_up("KD loss", dict.fromkeys(list_kd_losses()), kd_loss)
            terms["kd_loss"] = TermSettings(kd_loss, kd_loss_weight, kd_loss_warmup, {"temperature": temperature})
        if align_loss:
            look_up("alignment loss", dict.fromkeys(list_align_losses()), align_loss)
            over_time = align_loss_over_time
            terms["align_loss"] = TermSettings(align_loss, align_loss_weight, align_loss_warmup, over_time=over_time)
        config = self.model.config
        teacher_sizes = teacher_embedding_size, teacher_features_size
        self.teaching = Teaching(terms, config["embedding_size"], *teacher_sizes, config["num_classes"], gate)
        if self.teaching.over_time:
            self._check_in_step()
        # In a tuple, so that it is no submodule: in no checkpoint, no optimizer, and deaf to train().
        self._teacher: tuple[FaceClassifier, ...] = ()
        self._teacher_actors: set[str] = set()
        if teacher:
            self._invite(teacher, teacher_embedding_size)

    def _check_in_step(self) -> None:
        """Refuse what moves sound against faces, or has no parts."""
        if not self.model.encoder.has_steps:
            raise ConfigError(
                f"The encoder {self.model.config['encoder']!r} makes one vector of a whole clip and cannot be taught "
                "over time: choose one that goes through a clip, such as tdnn or lstm."
            )
        if getattr(self.model.front_end, "silence_db", None) is not None:
            raise ConfigError(
                "To teach over time, every audio frame must stand in its place: --transfer.model.front_end_kwargs "
                "'{silence_db: null}'. The front end leaves out silent ones by default."
            )
        moving = [type(one).__name__ for one in self.augmentation.waveform if isinstance(one, RandomCrop | TimeShift)]
        if moving or self.augmentation.mixup is not None:
            raise ConfigError(
                "To teach over time, voice and face must keep in step: leave out the augmentation "
                f"{', '.join([*moving, *(['Mixup'] if self.augmentation.mixup is not None else [])])}."
            )

    def _invite(self, teacher: str, teacher_embedding_size: int) -> None:
        """Load a live teacher."""
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

    def on_train_start(self) -> None:
        """Count the steps once, which Lightning does anew whenever it is asked."""
        super().on_train_start()
        self._total_steps = float(self.trainer.estimated_stepping_batches)

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """The task loss; in training also what the teacher adds, each loss with its weight, each logged."""
        if not self.training:
            return super().compute_losses(batch)
        teacher = self._teacher_outputs(batch)
        said = self._student_outputs(batch, teacher.windows)
        labels = self.labels_of_all(batch)
        student, teacher = (side.map(self.of_all_processes) for side in (said, teacher))
        task_loss = self.task_loss(student.logits, labels)
        taught, parts = self.teaching(student, teacher, labels["label"], self._progress())
        return said.logits, {"loss": self.task_loss_weight * task_loss + taught, "task_loss": task_loss, **parts}

    def _progress(self) -> float:
        """How much of training is done, from 0 to 1."""
        return self.trainer.global_step / self._total_steps if self._trainer else 1.0

    def _student_outputs(self, batch: Batch, teacher_windows: Tensor | None) -> Outputs:
        """What the student says, of windows too where those are compared."""
        if not self.teaching.over_time or teacher_windows is None:
            embedding = self.embed(batch)
            return Outputs(embedding, self.model.classify(embedding))
        embedding, windows = self.model.encode_windows(
            *self.features(batch), teacher_windows.shape[1], self.augmentation.features
        )
        return Outputs(embedding, self.model.classify(embedding), windows=windows)

    @torch.no_grad()
    def _teacher_outputs(self, batch: Batch) -> Outputs:
        """What the teacher says of the batch: stored, or said now."""
        if "teacher_logits" in batch:
            return Outputs._make(batch.get(f"teacher_{name}") for name in Outputs._fields)
        if not self._teacher:
            raise ConfigError(
                "There is no teacher: give the datamodule teacher_outputs, as `crossmodal fit` stores them, "
                "or the task a teacher's file."
            )
        if "face_embeddings" in batch:
            return self._teacher[0].outputs(batch["face_embeddings"])
        return self._teacher[0].outputs(random_horizontal_flip(batch["faces"], self.horizontal_flip))
