"""The last stage, and its control: the voice model alone."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from crossmodal.errors import ConfigError
from crossmodal.models import (
    AudioClassifier,
    AudioEncoderName,
    ClipNormalizationName,
    FrontEndName,
    SelfSupervisedFrontEnd,
)
from crossmodal.models.handover import load_weights
from crossmodal.storage import content_key
from crossmodal.tasks.base import BaseTask, Batch, Losses
from crossmodal.tasks.encoder_name import TimmName
from crossmodal.tasks.feature_memory import FeatureMemory
from crossmodal.transforms import AugmentationName, FeatureNormalization, create_augmentation


class FinetuneTask(BaseTask):
    """Train the student alone, from scratch or from the weights that the transfer stage left.

    A batch holds ``label``, ``waveform`` and ``waveform_length``; or, in place of the latter two, ``features`` and
    ``feature_length``, which a frozen front end made of them once. Both come to the same.

    Args:
        front_end: What the encoder sees of the sound.
        front_end_kwargs: Arguments of the front end, e.g. ``{n_mfcc: 40}``.
        encoder: The audio encoder: a name, or ``timm:`` and the name of a timm image model, e.g. ``timm:resnet18``.
        encoder_kwargs: Arguments of the encoder, e.g. ``{hidden_size: 128}``.
        embedding_size: Width of what the student says of a clip before its head.
        dropout: Before the head.
        sample_rate: Of the waveforms, in Hz.
        weights: Weights of the same student to start from (safetensors).
        clip_normalization: See `crossmodal.models.AudioClassifier`.
        corpus_normalization: See `crossmodal.models.AudioClassifier`.
        augmentation: What is done to training clips by chance: names with their arguments, e.g.
            ``{speed: {factors: [0.9, 1.0, 1.1]}, spec_augment: {}}``; see `crossmodal.transforms.create_augmentation`.
        num_classes: The number of classes.
        recipe: Further arguments of `BaseTask`.

    Raises:
        ConfigError: An argument that cannot be, or augmentation of waveforms for the front end ``ssl``.
    """

    stage: ClassVar[str] = "finetune"
    ignored_hyperparameters: ClassVar[tuple[str, ...]] = ("weights",)
    model: AudioClassifier

    def __init__(
        self,
        front_end: FrontEndName = "mfcc",
        front_end_kwargs: dict[str, Any] | None = None,
        encoder: AudioEncoderName | TimmName = "lstm",
        encoder_kwargs: dict[str, Any] | None = None,
        embedding_size: int = 128,
        dropout: float = 0.2,
        sample_rate: int = 16000,
        weights: str | None = None,
        clip_normalization: ClipNormalizationName | None = None,
        corpus_normalization: bool = True,
        augmentation: dict[AugmentationName, dict[str, Any] | None] | None = None,
        num_classes: int = 8,
        **recipe: Any,
    ) -> None:
        super().__init__(num_classes, **recipe)
        self.augmentation = create_augmentation(augmentation, sample_rate)
        self.model = AudioClassifier(
            front_end=front_end,
            encoder=encoder,
            num_classes=num_classes,
            embedding_size=embedding_size,
            sample_rate=sample_rate,
            front_end_kwargs=front_end_kwargs,
            encoder_kwargs=encoder_kwargs,
            dropout=dropout,
            clip_normalization=clip_normalization,
            corpus_normalization=corpus_normalization,
        )
        self._hears_once = isinstance(self.model.front_end, SelfSupervisedFrontEnd)
        if self._hears_once and len(self.augmentation.waveform):
            changing = [name for name in augmentation or {} if name not in ("mixup", "spec_augment")]
            raise ConfigError(
                f"The front end ssl hears each clip once, and what it made of it is stored: leave out the augmentation "
                f"{', '.join(changing)}, which would change the waveform. mixup and spec_augment are fine."
            )
        self._memory: FeatureMemory | None = None
        self._summaries: FeatureMemory | None = None
        self._summarized_by: Tensor | None = None
        if FeatureMemory.serves(self.augmentation) and not self._hears_once:
            self._memory = FeatureMemory.shared(
                self._memory_key(), self.model.extract_features, *self.augmentation.waveform
            )
        if weights:
            load_weights(self.model, weights)

    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> Tensor:
        """Logits, (B, K), of waveforms, (B, 1, T), of which so many samples, (B,), are sound."""
        logits: Tensor = self.model(waveform, waveform_length)
        return logits

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """Cross-entropy on the labels."""
        logits = self.model.classify(self.embed(batch))
        return logits, {"loss": self.task_loss(self.of_all_processes(logits), self.labels_of_all(batch))}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of training on augmented clips."""
        return super().training_step(self._augment(batch), batch_idx)

    def embed(self, batch: Batch) -> Tensor:
        """The student's embeddings of a batch, (B, embedding_size); in training, of hidden features too."""
        if self._keeps_summaries and self._memory_for(batch):
            return self.model.encode_summary(self._summary(batch))
        return self.model.encode(*self.features(batch), augment=self.augmentation.features)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Probabilities of a batch, (B, K)."""
        logits = self.model.classify(self.embed(batch))
        return {"clip": batch["clip"], "probabilities": logits.softmax(dim=-1)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint brings its own weights: who loads it fetches none, and reads no file of them."""
        super().on_save_checkpoint(checkpoint)
        if self.model.encoder.rebuild_kwargs:
            checkpoint["hyper_parameters"]["encoder_kwargs"] = self.model.config["encoder_kwargs"]

    def normalization(self) -> FeatureNormalization | None:
        """That of the front end's features, if it is asked for."""
        return self.model.normalization

    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The front end's features and their lengths in audio frames: stored, or made now."""
        if "features" in batch:
            return self.model.normalize_clips(batch["features"], batch["feature_length"])
        if (memory := self._memory_for(batch)) and not self._keeps_summaries:
            return memory.features(batch, self.training)
        return self.model.extract_features(batch["waveform"], batch["waveform_length"])

    @property
    def memory(self) -> FeatureMemory | None:
        """What was heard so far; who keeps it spares the next task of the same front end to hear it again."""
        return self._summaries or self._memory

    @property
    def _keeps_summaries(self) -> bool:
        untouched = self.augmentation.mixup is None and self.augmentation.spec_augment is None
        return self.model.encoder.summarizes and untouched

    def _summary(self, batch: Batch) -> Tensor:
        """What the encoder makes of each clip before it learns anything, (B, P), made once for each normalization."""
        normalization = self.normalization()
        fitted = torch.zeros(0) if normalization is None else torch.stack([normalization.mean, normalization.std])
        if self._summaries is None or self._summarized_by is None or not torch.equal(fitted, self._summarized_by):
            key = self._memory_key(fitted.tolist(), self.model.config["encoder"], self.model.config["encoder_kwargs"])
            self._summaries = FeatureMemory.shared(key, self._summarize, *self.augmentation.waveform)
            self._summarized_by = fitted
        summary, _ = self._summaries.features(batch, self.training)
        return summary[..., 0]

    def _memory_key(self, *more: Any) -> str:
        """All that decides what the front end makes of a waveform, and what else is asked for."""
        config = self.model.config
        heard = ("front_end", "front_end_kwargs", "sample_rate", "clip_normalization")
        return content_key(heard=[config[name] for name in heard], more=more)

    def _summarize(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        summary = self.model.summarize(*self.model.extract_features(waveform, length))
        return summary[..., None], torch.ones_like(length)

    def _augment(self, batch: Batch) -> Batch:
        """Augment a batch: its clips' waveforms, or their features where those are stored or remembered.

        Features are mixed about the corpus's mean, which the padding of the shorter clip then stands for: zero may be
        far from everything that a network says.
        """
        if not (self._hears_once or self._memory_for(batch)):
            return self.augmentation.batch(batch)
        if self.augmentation.mixup is None:
            return batch
        features, length = self.features(batch)
        normalization = self.normalization()
        mean = features.new_zeros(1) if normalization is None else normalization.mean[:, None]
        heard = {name: value for name, value in batch.items() if not name.startswith("waveform")}
        mixed = self.augmentation.batch({**heard, "features": features - mean, "feature_length": length})
        return {**mixed, "features": mixed["features"] + mean}

    def _memory_for(self, batch: Batch) -> FeatureMemory | None:
        """Where the batch's features are kept; on a GPU nowhere, for they are made faster than they are found."""
        on_cpu = "waveform" in batch and batch["waveform"].device.type == "cpu"
        return self._memory if on_cpu else None


class ControlTask(FinetuneTask):
    """The same student with the same budget and no teacher: what a gain is measured against."""

    stage: ClassVar[str] = "control"
