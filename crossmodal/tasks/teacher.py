"""The first stage: a face model learns emotions."""

from typing import Any, ClassVar

from torch import Tensor

from crossmodal.models import FaceClassifier
from crossmodal.models.pooling import PoolingName
from crossmodal.tasks.base import BaseTask, Batch, Losses
from crossmodal.transforms import FeatureNormalization, random_horizontal_flip


class TeacherTask(BaseTask):
    """Train a face classifier on face crops, on stored face embeddings or on ready-made face features.

    A batch holds ``label`` and ``faces`` or ``face_embeddings`` (see `crossmodal.datamodules.collate_clips`).

    Args:
        backbone: Any timm model name, for batches of ``faces``; None for ``face_embeddings``.
        pretrained: Whether timm fetches the backbone's pretrained weights.
        weights: A local file of backbone weights (safetensors or state dict), in place of fetching them.
        freeze_backbone: Whether the backbone keeps its weights.
        backbone_kwargs: Further arguments of `crossmodal.models.FaceBackbone`, e.g. ``{model_kwargs: {...}}`` for timm.
        in_features: Width D of the face embeddings, where there is no backbone.
        embedding_size: Width E of what the teacher says of a clip beside its logits.
        hidden_size: Width of the layer before pooling over time.
        pooling: Over the video frames of a clip.
        dropout: In the layers after the backbone.
        horizontal_flip: Probability that a clip's face is mirrored in training, where the batch holds pixels.
        num_classes: The number of classes.
        recipe: Further arguments of `BaseTask`.
    """

    stage: ClassVar[str] = "teacher"
    ignored_hyperparameters: ClassVar[tuple[str, ...]] = ("weights",)
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
        pooling: PoolingName = "mean",
        dropout: float = 0.3,
        horizontal_flip: float = 0.5,
        num_classes: int = 8,
        **recipe: Any,
    ) -> None:
        super().__init__(num_classes, **recipe)
        self.horizontal_flip = horizontal_flip
        self.model = FaceClassifier(
            in_features=in_features,
            num_classes=num_classes,
            backbone=backbone,
            freeze_backbone=freeze_backbone,
            backbone_kwargs={"pretrained": pretrained, "weights": weights, **(backbone_kwargs or {})},
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            pooling=pooling,
            dropout=dropout,
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Logits, (B, K), of faces, (B, N, 3, H, W) uint8, or of their embeddings, (B, N, D)."""
        logits: Tensor = self.model(faces)
        return logits

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """Cross-entropy on the labels."""
        logits = self(self._faces(batch))
        return logits, {"loss": self.task_loss(self.of_all_processes(logits), self.labels_of_all(batch))}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Teacher outputs of a batch: ``teacher_embedding``, (B, E), and ``teacher_logits``, (B, K)."""
        embedding = self.model.embed(self._faces(batch))
        logits = self.model.classify(embedding)
        return {"clip": batch["clip"], "teacher_embedding": embedding, "teacher_logits": logits}

    def normalization(self) -> FeatureNormalization | None:
        """That of the face embeddings; a backbone that is trained moves them, so then there is none."""
        backbone = self.model.encoder.backbone
        return self.model.normalization if backbone is None or backbone.frozen else None

    def features(self, batch: Batch) -> tuple[Tensor, None]:
        """Face embeddings as (B, D, N); all the video frames of a clip count."""
        return self.model.extract_features(self._faces(batch)), None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint brings its own weights: who loads it fetches none."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["hyper_parameters"]["pretrained"] = False

    def _faces(self, batch: Batch) -> Tensor:
        if "face_embeddings" in batch:
            embeddings: Tensor = batch["face_embeddings"]
            return embeddings
        faces: Tensor = batch["faces"]
        return random_horizontal_flip(faces, self.horizontal_flip) if self.training else faces
