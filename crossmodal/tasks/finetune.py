"""The last stage, and its control: the voice model alone."""

from typing import Any, ClassVar

from torch import Tensor

from crossmodal.models import AudioClassifier, AudioEncoderName, FrontEndName
from crossmodal.models.handover import load_weights
from crossmodal.tasks.base import BaseTask, Batch, Losses
from crossmodal.transforms import FeatureNormalization


class FinetuneTask(BaseTask):
    """Train the student alone, from scratch or from the weights that the transfer stage left.

    A batch holds ``label``, ``waveform`` and ``waveform_length``.

    Args:
        front_end: What the encoder sees of the sound.
        front_end_kwargs: Arguments of the front end, e.g. ``{n_mfcc: 40}``.
        encoder: The audio encoder.
        encoder_kwargs: Arguments of the encoder, e.g. ``{hidden_size: 128}``.
        embedding_size: Width of what the student says of a clip before its head.
        dropout: Before the head.
        sample_rate: Of the waveforms, in Hz.
        weights: Weights of the same student to start from (safetensors).
        num_classes: The number of classes.
        lr: See `BaseTask`; so for the rest.
        weight_decay: See `BaseTask`.
        warmup: See `BaseTask`.
        label_smoothing: See `BaseTask`.
    """

    stage: ClassVar[str] = "finetune"
    ignored_hyperparameters: ClassVar[tuple[str, ...]] = ("weights",)
    model: AudioClassifier

    def __init__(
        self,
        front_end: FrontEndName = "mfcc",
        front_end_kwargs: dict[str, Any] | None = None,
        encoder: AudioEncoderName = "lstm",
        encoder_kwargs: dict[str, Any] | None = None,
        embedding_size: int = 128,
        dropout: float = 0.2,
        sample_rate: int = 16000,
        weights: str | None = None,
        num_classes: int = 8,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        warmup: float = 0.2,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__(num_classes, lr, weight_decay, warmup, label_smoothing)
        self.model = AudioClassifier(
            front_end=front_end,
            encoder=encoder,
            num_classes=num_classes,
            embedding_size=embedding_size,
            sample_rate=sample_rate,
            front_end_kwargs=front_end_kwargs,
            encoder_kwargs=encoder_kwargs,
            dropout=dropout,
        )
        if weights:
            load_weights(self.model, weights)

    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> Tensor:
        """Logits, (B, K), of waveforms, (B, 1, T), of which so many samples, (B,), are sound."""
        logits: Tensor = self.model(waveform, waveform_length)
        return logits

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """Cross-entropy on the labels."""
        logits = self(batch["waveform"], batch["waveform_length"])
        return logits, {"loss": self.task_loss(logits, batch["label"])}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Probabilities of a batch, (B, K)."""
        logits = self(batch["waveform"], batch["waveform_length"])
        return {"clip": batch["clip"], "probabilities": logits.softmax(dim=-1)}

    def normalization(self) -> FeatureNormalization:
        """That of the front end's features."""
        return self.model.normalization

    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The front end's features and their lengths in audio frames."""
        return self.model.extract_features(batch["waveform"], batch["waveform_length"])


class ControlTask(FinetuneTask):
    """The same student with the same budget and no teacher: what a gain is measured against."""

    stage: ClassVar[str] = "control"
