"""The last stage, which trains the voice model alone, and its control."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from crossmodal.batch import Batch
from crossmodal.errors import ConfigError
from crossmodal.models import AudioClassifier, ClipNormalizationName, PretrainedFrontEnd
from crossmodal.models.factory import audio_encoder_part, front_end_part
from crossmodal.models.serialization import load_weights
from crossmodal.naming import readable, stored
from crossmodal.tasks.base import BaseTask, Losses
from crossmodal.tasks.part_types import AudioEncoderType, FrontEndType
from crossmodal.transforms import FeatureNormalization, SpeedPerturbation, create_augmentation

_PARTS = ("front_end", "front_end_kwargs", "encoder", "encoder_kwargs", "augmentation")


class FinetuneTask(BaseTask):
    """Train the student alone, from scratch or from the weights of the transfer stage.

    A batch has ``label``, ``waveform``, (B, 1, T) float32 in [-1, 1] at `sample_rate`, and ``waveform_length``, (B,)
    int64 in samples; without lengths, all clips have T samples. Instead of the latter two it may have what was stored
    once for each clip, with the same results: ``features`` of the front end, (B, F, frames), and ``feature_length``,
    (B,), or ``summary`` of a summarizing encoder, (B, V, P). Features may also have a dimension V, (B, V, F, frames)
    and (B, V): the clip and its `num_versions` - 1 augmented versions, of which training draws one.

    Args:
        front_end: Name of the front end, or your own: ``module.Class``, ``{class_path, init_args}``, a class or an
            object.
        front_end_kwargs: Arguments of the front end, e.g. ``{n_mfcc: 40}``.
        encoder: Name of the audio encoder, or your own, as for the front end.
        encoder_kwargs: Arguments of the encoder, e.g. ``{hidden_size: 128}``.
        embedding_size: Width of the student's embedding.
        dropout: Fraction of the embedding dropped before the head.
        sample_rate: Sample rate of the waveforms in Hz.
        weights: Path of the weights of the same student to start from (safetensors).
        clip_normalization: See `crossmodal.models.AudioClassifier`.
        corpus_normalization: See `crossmodal.models.AudioClassifier`.
        augmentation: Augmentation of training clips: names with their arguments, e.g.
            ``{speed: {factors: [0.9, 1.0, 1.1]}, spec_augment: {}}``; see `crossmodal.transforms.create_augmentation`.
        mix_layers: Whether to sum the layers of a pretrained front end with learned weights; otherwise the encoder gets
            all of them.
        stored_copies: Number of copies of each training clip with augmented waveforms for a pretrained front end, whose
            frozen layers run once over each copy.
        pretrained_lr: Highest learning rate of the trained layers of a pretrained front end; default: a tenth of `lr`.
        num_classes: Number of classes.
        recipe: Additional arguments of `BaseTask`.

    Raises:
        ConfigError: If an argument is invalid.
    """

    stage: ClassVar[str] = "finetune"
    ignored_hyperparameters: ClassVar[tuple[str, ...]] = ("weights", *_PARTS)
    model: AudioClassifier

    def __init__(
        self,
        front_end: FrontEndType = "mfcc",
        front_end_kwargs: dict[str, Any] | None = None,
        encoder: AudioEncoderType = "lstm",
        encoder_kwargs: dict[str, Any] | None = None,
        embedding_size: int = 128,
        dropout: float = 0.2,
        sample_rate: int = 16000,
        weights: str | None = None,
        clip_normalization: ClipNormalizationName | None = None,
        corpus_normalization: bool = True,
        augmentation: dict[str, dict[str, Any] | None] | None = None,
        mix_layers: bool = True,
        stored_copies: int = 3,
        pretrained_lr: float | None = None,
        num_classes: int = 8,
        **recipe: Any,
    ) -> None:
        super().__init__(num_classes, **recipe)
        front, voice = front_end_part(front_end, front_end_kwargs), audio_encoder_part(encoder, encoder_kwargs)
        kwargs = {"front_end_kwargs": front_end_kwargs, "encoder_kwargs": encoder_kwargs, "augmentation": augmentation}
        self.save_hyperparameters(
            {"front_end": front.name, "encoder": voice.name, **{name: readable(one) for name, one in kwargs.items()}}
        )
        self._given_augmentation = augmentation
        self.augmentation = create_augmentation(augmentation, sample_rate)
        self.model = AudioClassifier(
            front_end=front,
            encoder=voice,
            num_classes=num_classes,
            embedding_size=embedding_size,
            sample_rate=sample_rate,
            dropout=dropout,
            clip_normalization=clip_normalization,
            corpus_normalization=corpus_normalization,
            mix_layers=mix_layers,
        )
        if stored_copies < 1:
            raise ConfigError(f"stored_copies must be at least 1, got {stored_copies}.")
        self.pretrained_lr = self.lr / 10 if pretrained_lr is None else pretrained_lr
        self.stored_copies = stored_copies
        self._is_pretrained = isinstance(self.model.front_end, PretrainedFrontEnd)
        if weights:
            load_weights(self.model, weights)
        elif self.model.has_trained_layers:
            self.model.front_end.load_trained_layers()

    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> Tensor:
        """Compute logits, (B, K), from waveforms, (B, 1, T), with valid lengths, (B,)."""
        logits: Tensor = self.model(waveform, waveform_length)
        return logits

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """Compute the cross-entropy on the labels."""
        logits = self.model.classify(self.embed(batch))
        return logits, {"loss": self.task_loss(self.gather_clips(logits), self.gather_clips(batch["label"]))}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Run one training step on augmented clips."""
        return super().training_step(self.augmentation.batch(batch), batch_idx)

    def embed(self, batch: Batch) -> Tensor:
        """Compute the student's embeddings of a batch, (B, embedding_size); in training, of augmented features."""
        if "summary" in batch:
            return self.model.encode_summary(_choose(batch["summary"], self._draw_versions(batch["summary"])))
        return self.model.encode(*self.features(batch), augment=self.augmentation.features)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Predict probabilities of a batch, (B, K)."""
        return {"clip": batch.get("clip"), "probabilities": self.model.predict_batch(batch).logits.softmax(dim=-1)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the parts as JSON values, which need no weights files: the checkpoint has all weights."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["crossmodal"]["model"] = config = self.model.config
        arguments = {**config, "augmentation": stored(self._given_augmentation)}
        checkpoint["hyper_parameters"].update({name: arguments[name] for name in _PARTS})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the trained layers of a pretrained front end, and all other parameters."""
        pretrained = [*self.model.front_end.parameters()] if self.model.has_trained_layers else []
        (group,) = super().parameter_groups()
        ids = {id(one) for one in pretrained}
        others = [one for one in group["params"] if id(one) not in ids]
        return [group | {"params": others}, *([{"params": pretrained, "lr": self.pretrained_lr}] if pretrained else [])]

    def normalization(self) -> FeatureNormalization | None:
        """Return the normalization of the front end's features, if enabled."""
        return self.model.normalization

    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return stored or computed features of the front end and their lengths in audio frames."""
        features, length = self.model.batch_features(batch)
        if features.ndim == 4:
            versions = self._draw_versions(features)
            length = _choose(length, versions)
            features = _choose(features, versions)[..., : int(length.max())]
        return self.model.normalize_clips(features, length)

    @property
    def stored_speeds(self) -> tuple[float, ...]:
        """The speeds at which training uses a clip, 1 first.

        Empty if another augmentation changes waveforms, or the front end is trained or pretrained.
        """
        speeds = [one for one in self.augmentation.waveform if type(one) is SpeedPerturbation]
        is_trained = any(one.requires_grad for one in self.model.front_end.parameters())
        if len(speeds) < len(self.augmentation.waveform) or is_trained or self._is_pretrained:
            return ()
        return (1.0, *sorted({factor for one in speeds for factor in one.factors} - {1.0}))

    @property
    def num_versions(self) -> int:
        """Number of versions of a training clip whose features are stored, the first unchanged; 0 if none can be."""
        if self._is_pretrained:
            return 1 + self.stored_copies * (len(self.augmentation.waveform) > 0)
        return len(self.stored_speeds)

    @property
    def uses_summaries(self) -> bool:
        """True if summaries of the encoder can be stored: see `crossmodal.models.AudioEncoder.summarizes`."""
        return self.model.summarizes and len(self.augmentation.on_features) == 0

    def _draw_versions(self, values: Tensor) -> Tensor:
        """Draw the index of a version for each clip of stored values, (B, V, ...); without training it is 0."""
        size, count = values.shape[:2]
        if not self.training or not len(self.augmentation.waveform):
            return torch.zeros(size, dtype=torch.long)
        if self._is_pretrained:
            return torch.randint(count, (size,))
        speeds = self.stored_speeds
        return torch.tensor([speeds.index(speed) for speed in self.augmentation.waveform[0].draw(size)])  # type: ignore[operator]


def _choose(versions: Tensor, index: Tensor) -> Tensor:
    """Return one of V versions of each clip, (B, ...), from (B, V, ...)."""
    return versions[torch.arange(len(index)), index.to(versions.device)]


class SupervisedTask(FinetuneTask):
    """Train a student on labels alone where transfer would teach it: the first stage of its control."""

    stage: ClassVar[str] = "supervised"


class ControlTask(FinetuneTask):
    """Fine-tune a student that had no teacher: the control, with which the gain compares the student."""

    stage: ClassVar[str] = "control"
