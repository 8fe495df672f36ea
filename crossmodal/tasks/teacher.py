"""The first stage, which trains the face model."""

from typing import Any, ClassVar

from torch import Tensor

from crossmodal.batch import Batch
from crossmodal.models import FaceClassifier
from crossmodal.models.face import face_encoder_part
from crossmodal.naming import readable
from crossmodal.tasks.base import BaseTask, Losses
from crossmodal.tasks.part_types import FaceEncoderType, PoolingType
from crossmodal.transforms import FeatureNormalization, random_horizontal_flip


class TeacherTask(BaseTask):
    """Train a face classifier on face crops, stored face embeddings or precomputed face features.

    A batch has ``label`` and ``faces``, (B, N, 3, H, W) uint8, or ``face_embeddings``, (B, N, D) float: stored
    embeddings or features from another program.

    Args:
        backbone: Name of a timm model for batches of ``faces``; None for ``face_embeddings``.
        pretrained: Whether to download the backbone's pretrained weights.
        weights: Path of a local file of backbone weights (safetensors or state dict) to use instead.
        freeze_backbone: Whether to freeze the backbone's weights.
        backbone_kwargs: Additional arguments of `crossmodal.models.FaceBackbone`, e.g. ``{model_kwargs: {...}}`` for
            timm.
        in_features: Width D of the face embeddings if there is no backbone.
        embedding_size: Width E of the teacher's embedding.
        hidden_size: Width of the layer before pooling over time.
        pooling: Pooling over the video frames of a clip: a name, or your own; see `crossmodal.models.create_pooling`.
        dropout: Fraction of activations dropped in the layers after the backbone.
        encoder: Your own face encoder in place of backbone, layer and pooling: ``module.Class``, ``{class_path,
            init_args}``, a class or an object; see `crossmodal.models.face.OwnFaceEncoder`.
        encoder_kwargs: Arguments of your own face encoder.
        horizontal_flip: Probability of flipping the faces of a clip in training, if the batch has pixels.
        num_classes: Number of classes.
        recipe: Additional arguments of `BaseTask`.
    """

    stage: ClassVar[str] = "teacher"
    ignored_hyperparameters: ClassVar[tuple[str, ...]] = ("weights", "encoder", "encoder_kwargs", "pooling")
    model: FaceClassifier

    def __init__(
        self,
        backbone: str | None = "mobilenetv3_small_100",
        pretrained: bool = True,
        weights: str | None = None,
        freeze_backbone: bool = True,
        backbone_kwargs: dict[str, Any] | None = None,
        in_features: int | None = None,
        embedding_size: int = 128,
        hidden_size: int = 256,
        pooling: PoolingType = "mean",
        dropout: float = 0.3,
        encoder: FaceEncoderType | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        horizontal_flip: float = 0.5,
        num_classes: int = 8,
        **recipe: Any,
    ) -> None:
        super().__init__(num_classes, **recipe)
        part = None if encoder is None else face_encoder_part(encoder, encoder_kwargs)
        parts = {"encoder": part and part.name, "encoder_kwargs": encoder_kwargs, "pooling": pooling}
        self.save_hyperparameters({name: readable(one) for name, one in parts.items()})
        self.horizontal_flip = horizontal_flip
        self.model = FaceClassifier(
            in_features=in_features,
            num_classes=num_classes,
            encoder=part,
            backbone=backbone,
            freeze_backbone=freeze_backbone,
            backbone_kwargs={"pretrained": pretrained, "weights": weights, **(backbone_kwargs or {})},
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            pooling=pooling,
            dropout=dropout,
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Compute logits, (B, K), from faces, (B, N, 3, H, W) uint8, or their embeddings, (B, N, D)."""
        logits: Tensor = self.model(faces)
        return logits

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """Compute the cross-entropy on the labels."""
        logits = self(self._faces(batch))
        return logits, {"loss": self.task_loss(self.gather_clips(logits), self.gather_clips(batch["label"]))}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Predict ``teacher_embedding``, (B, E), and ``teacher_logits``, (B, K), of a batch."""
        outputs = self.model.predict_batch(batch)
        return {"clip": batch.get("clip"), "teacher_embedding": outputs.embedding, "teacher_logits": outputs.logits}

    def normalization(self) -> FeatureNormalization | None:
        """Return the normalization of the face embeddings; None if the backbone, and so the embeddings, change."""
        backbone = self.model.encoder.backbone
        return self.model.normalization if backbone is None or backbone.frozen else None

    def features(self, batch: Batch) -> tuple[Tensor, None]:
        """Compute face embeddings, (B, D, N); all video frames of a clip are valid, so there are no lengths."""
        return self.model.extract_features(self._faces(batch)), None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save arguments that need no download: the checkpoint has all weights."""
        super().on_save_checkpoint(checkpoint)
        names = {"encoder", "encoder_kwargs", "pooling"}
        parts = {name: value for name, value in self.model.config.items() if name in names}
        checkpoint["hyper_parameters"].update(parts, pretrained=False)

    def _faces(self, batch: Batch) -> Tensor:
        if "face_embeddings" in batch:
            embeddings: Tensor = batch["face_embeddings"]
            return embeddings
        faces: Tensor = batch["faces"]
        return random_horizontal_flip(faces, self.horizontal_flip) if self.training else faces
