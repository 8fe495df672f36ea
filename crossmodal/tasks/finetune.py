"""The last stage, which trains the voice model alone, and its control."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from crossmodal.batch import Batch
from crossmodal.errors import ConfigError
from crossmodal.models import (
    AudioClassifier,
    AudioEncoderName,
    ClipNormalizationName,
    FrontEndName,
    SelfSupervisedFrontEnd,
)
from crossmodal.models.serialization import load_weights
from crossmodal.storage import content_key
from crossmodal.tasks.base import BaseTask, Losses
from crossmodal.tasks.encoder_name import TimmName
from crossmodal.tasks.feature_memory import FeatureMemory
from crossmodal.transforms import AugmentationName, FeatureNormalization, create_augmentation


class FinetuneTask(BaseTask):
    """Train the student alone, from scratch or from the weights of the transfer stage.

    A batch has ``label``, ``waveform`` and ``waveform_length``; or, instead of the latter two, ``features`` and
    ``feature_length`` stored from a frozen front end, with the same results.

    Args:
        front_end: Name of the front end.
        front_end_kwargs: Arguments of the front end, e.g. ``{n_mfcc: 40}``.
        encoder: Audio encoder: a name, or ``timm:`` and the name of a timm image model, e.g. ``timm:resnet18``.
        encoder_kwargs: Arguments of the encoder, e.g. ``{hidden_size: 128}``.
        embedding_size: Width of the student's embedding.
        dropout: Fraction of the embedding dropped before the head.
        sample_rate: Sample rate of the waveforms in Hz.
        weights: Path of the weights of the same student to start from (safetensors).
        clip_normalization: See `crossmodal.models.AudioClassifier`.
        corpus_normalization: See `crossmodal.models.AudioClassifier`.
        augmentation: Augmentation of training clips: names with their arguments, e.g.
            ``{speed: {factors: [0.9, 1.0, 1.1]}, spec_augment: {}}``; see `crossmodal.transforms.create_augmentation`.
        num_classes: Number of classes.
        recipe: Additional arguments of `BaseTask`.

    Raises:
        ConfigError: If an argument is invalid, or waveform augmentation is used with the front end ``ssl``.
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
        self._stores_features = isinstance(self.model.front_end, SelfSupervisedFrontEnd)
        if self._stores_features and len(self.augmentation.waveform):
            unsupported = [name for name in augmentation or {} if name not in ("mixup", "spec_augment")]
            raise ConfigError(
                f"The features of the front end ssl are computed once and stored, so waveforms cannot be augmented: "
                f"remove the augmentation {', '.join(unsupported)}. mixup and spec_augment are supported."
            )
        self._memory: FeatureMemory | None = None
        self._summaries: FeatureMemory | None = None
        self._summary_statistics: Tensor | None = None
        if FeatureMemory.serves(self.augmentation) and not self._stores_features:
            self._memory = FeatureMemory.shared(
                self._memory_key(), self.model.extract_features, *self.augmentation.waveform
            )
        if weights:
            load_weights(self.model, weights)

    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> Tensor:
        """Compute logits, (B, K), from waveforms, (B, 1, T), with valid lengths, (B,)."""
        logits: Tensor = self.model(waveform, waveform_length)
        return logits

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """Compute the cross-entropy on the labels."""
        logits = self.model.classify(self.embed(batch))
        return logits, {"loss": self.task_loss(self.gather_clips(logits), self.gather_labels(batch))}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Run one training step on augmented clips."""
        return super().training_step(self._augment(batch), batch_idx)

    def embed(self, batch: Batch) -> Tensor:
        """Compute the student's embeddings of a batch, (B, embedding_size); in training, of augmented features."""
        if self._keeps_summaries and self._memory_for(batch):
            return self.model.encode_summary(self._summary(batch))
        return self.model.encode(*self.features(batch), augment=self.augmentation.features)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Predict probabilities of a batch, (B, K)."""
        logits = self.model.classify(self.embed(batch))
        return {"clip": batch["clip"], "probabilities": logits.softmax(dim=-1)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save encoder arguments that need no weights files or downloads: the checkpoint has all weights."""
        if self.model.encoder.rebuild_kwargs:
            checkpoint["hyper_parameters"]["encoder_kwargs"] = self.model.config["encoder_kwargs"]

    def normalization(self) -> FeatureNormalization | None:
        """Return the normalization of the front end's features, if enabled."""
        return self.model.normalization

    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return stored or computed features of the front end and their lengths in audio frames."""
        if "features" in batch:
            return self.model.normalize_clips(batch["features"], batch["feature_length"])
        if (memory := self._memory_for(batch)) and not self._keeps_summaries:
            return memory.features(batch, self.training)
        return self.model.extract_features(batch["waveform"], batch["waveform_length"])

    @property
    def memory(self) -> FeatureMemory | None:
        """Cache of features; keeping a reference lets the next task with the same front end reuse it."""
        return self._summaries or self._memory

    @property
    def _keeps_summaries(self) -> bool:
        augments_features = self.augmentation.mixup is not None or self.augmentation.spec_augment is not None
        return self.model.encoder.summarizes and not augments_features

    def _summary(self, batch: Batch) -> Tensor:
        """Return the encoder's summaries, (B, P), which are computed once for each normalization."""
        normalization = self.normalization()
        statistics = torch.zeros(0) if normalization is None else torch.stack([normalization.mean, normalization.std])
        previous = self._summary_statistics
        if self._summaries is None or previous is None or not torch.equal(statistics, previous):
            encoder = self.model.config["encoder"], self.model.config["encoder_kwargs"]
            key = self._memory_key(statistics.tolist(), *encoder)
            self._summaries = FeatureMemory.shared(key, self._summarize, *self.augmentation.waveform)
            self._summary_statistics = statistics
        summary, _ = self._summaries.features(batch, self.training)
        return summary[..., 0]

    def _memory_key(self, *more: Any) -> str:
        """Return a key of everything that determines the front end's features, and of more values."""
        config = self.model.config
        names = ("front_end", "front_end_kwargs", "sample_rate", "clip_normalization")
        return content_key(features=[config[name] for name in names], more=more)

    def _summarize(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        summary = self.model.summarize(*self.model.extract_features(waveform, length))
        return summary[..., None], torch.ones_like(length)

    def _augment(self, batch: Batch) -> Batch:
        """Augment the waveforms of a batch, or its features if they are stored or cached.

        The corpus mean is subtracted before mixing, so that the padding of the shorter clip is the mean: zero may be
        far outside the range of a network's features.
        """
        if not (self._stores_features or self._memory_for(batch)):
            return self.augmentation.batch(batch)
        if self.augmentation.mixup is None:
            return batch
        features, length = self.features(batch)
        normalization = self.normalization()
        mean = features.new_zeros(1) if normalization is None else normalization.mean[:, None]
        others = {name: value for name, value in batch.items() if not name.startswith("waveform")}
        mixed = self.augmentation.batch({**others, "features": features - mean, "feature_length": length})
        return {**mixed, "features": mixed["features"] + mean}

    def _memory_for(self, batch: Batch) -> FeatureMemory | None:
        """Return the cache for the batch's features; None on a GPU, where computing them is faster than a lookup."""
        on_cpu = "waveform" in batch and batch["waveform"].device.type == "cpu"
        return self._memory if on_cpu else None


class ControlTask(FinetuneTask):
    """Train the same student with the same budget and without a teacher: the baseline for the gain."""

    stage: ClassVar[str] = "control"
