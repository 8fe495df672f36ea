"""The face model, which maps the faces of a clip to emotions."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.backbone import FaceBackbone
from crossmodal.models.outputs import Outputs
from crossmodal.models.pooling import create_pooling
from crossmodal.naming import Part, stored
from crossmodal.transforms import FeatureNormalization


class FaceEncoder(nn.Module):
    """Encoder of the faces of a clip: a network per video frame, then pooling over time.

    Each video frame passes through the backbone (skipped if the input is already face embeddings or face features), the
    normalization and a small layer. The video frames are then pooled and projected.

    Args:
        in_features: Width of the face embeddings or face features; defaults to the backbone's width.
        backbone: Name of a timm model for faces; None if the input is always face embeddings or face features.
        embedding_size: Width of the embedding.
        hidden_size: Width of the layer.
        pooling: Name of the pooling over video frames, or your own; see `create_pooling`.
        dropout: Fraction of activations dropped after the layer.
        freeze_backbone: Whether to freeze the backbone instead of training it.
        backbone_kwargs: Additional arguments of `FaceBackbone`, such as ``pretrained`` or ``weights``.

    Attributes:
        backbone: The backbone, or None.
        normalization: Standardization with the statistics of the training actors, once fitted.
        out_features: Width of the embedding.

    Raises:
        ConfigError: If both width and backbone are missing, if two widths differ, or if an argument does not exist.
        WeightsError: If the backbone's weights are not available or do not fit.
    """

    backbone: FaceBackbone | None
    normalization: FeatureNormalization | None
    in_features: int | None

    def __init__(
        self,
        in_features: int | None = None,
        backbone: str | None = None,
        embedding_size: int = 128,
        hidden_size: int = 256,
        pooling: Any = "mean",
        dropout: float = 0.3,
        freeze_backbone: bool = True,
        backbone_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = None
        if backbone is not None:
            part = Part("face backbone", backbone, FaceBackbone, dict(backbone_kwargs or {}))
            self.backbone = part.create({"name": backbone, "frozen": freeze_backbone})
        width = self.in_features = _agree_on_width(in_features, self.backbone)
        self.normalization = FeatureNormalization(width)
        self.layer = nn.Sequential(
            nn.Linear(width, hidden_size), nn.LayerNorm(hidden_size), nn.GELU(), nn.Dropout(dropout)
        )
        self.pooling = create_pooling(pooling, hidden_size)
        self.projection = nn.Sequential(
            nn.Linear(self.pooling.out_features, embedding_size), nn.LayerNorm(embedding_size), nn.GELU()
        )
        self.out_features = embedding_size
        self._config = {
            "in_features": self.in_features,
            "backbone": backbone,
            "embedding_size": embedding_size,
            "hidden_size": hidden_size,
            "pooling": pooling,
            "dropout": dropout,
            "freeze_backbone": freeze_backbone,
        }

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON values, for which no weights are downloaded or read from another file."""
        kwargs = {} if self.backbone is None else self.backbone.config
        return self._config | {
            "pooling": stored(self._config["pooling"]),
            "backbone_kwargs": {key: value for key, value in kwargs.items() if key not in ("name", "frozen")},
        }

    def extract_features(self, faces: Tensor) -> Tensor:
        """Compute the features of shape (B, in_features, N) that the normalization is fitted to.

        Args:
            faces: Faces of shape (B, N, 3, H, W), uint8; or face embeddings or face features of shape
                (B, N, in_features), float.

        Raises:
            ConfigError: If the shape or dtype is wrong, or if the input is faces and there is no backbone.
        """
        features = self.backbone(faces) if self.backbone is not None and faces.ndim == 5 else faces
        if features.ndim != 3 or features.shape[2] != self.in_features or not features.is_floating_point():
            raise ConfigError(
                f"Expected float of shape (B, N, {self.in_features})"
                f"{'' if self.backbone is None else ' or uint8 faces of shape (B, N, 3, H, W)'}, "
                f"got {faces.dtype} of shape {tuple(faces.shape)}."
            )
        return features.transpose(1, 2)

    def forward(self, faces: Tensor) -> Tensor:
        """Compute embeddings of shape (B, embedding_size); argument as in `extract_features`."""
        features = self.extract_features(faces)
        return self.encode(features if self.normalization is None else self.normalization(features))

    def encode(self, features: Tensor) -> Tensor:
        """Compute embeddings of shape (B, embedding_size) from normalized features of shape (B, in_features, N)."""
        length = torch.full((len(features),), features.shape[2], device=features.device)
        return self.projection(self.pooling(self.layer(features.transpose(1, 2)).transpose(1, 2), length))


face_encoder_part = partial(Part.parse, "face encoder", {}, base=nn.Module)


class OwnFaceEncoder(FaceEncoder):
    """Adapter of your own module.

    The module has ``out_features``, the width E of its embeddings. With `in_features`, it maps face features, (B, N,
    in_features), normalized by this adapter, to embeddings, (B, E); without, it maps faces, (B, N, 3, H, W) uint8.
    """

    def __init__(self, part: Part, in_features: int | None = None) -> None:
        nn.Module.__init__(self)
        self.backbone, self.part, self.in_features = None, part, in_features
        self.module = part.create({"in_features": in_features} if in_features else {}, "out_features")
        self.out_features = self.module.out_features
        self.normalization = FeatureNormalization(in_features) if in_features else None

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of `FaceClassifier` as JSON values."""
        kwargs = self.part.stored_kwargs(["in_features"])
        return {"in_features": self.in_features, "encoder": self.part.name, "encoder_kwargs": kwargs}

    def extract_features(self, faces: Tensor) -> Tensor:
        """Return face features as in `FaceEncoder`, and faces as they are."""
        return super().extract_features(faces) if self.in_features else faces

    def encode(self, features: Tensor) -> Tensor:
        """Compute embeddings, (B, E), from faces, or from normalized features of shape (B, in_features, N)."""
        embedding: Tensor = self.module(features.transpose(1, 2) if self.in_features else features)
        if embedding.shape != (len(features), self.out_features):
            raise ConfigError(
                f"The face encoder {self.part.name} must return embeddings of shape (B, {self.out_features}), got "
                f"{tuple(embedding.shape)}."
            )
        return embedding


class FaceClassifier(nn.Module):
    """The teacher: a `FaceEncoder`, or your own module, with a classification head.

    Args:
        in_features: Width of the face embeddings or face features; defaults to the backbone's width.
        num_classes: Number of emotions.
        dropout: Fraction of activations dropped in the encoder and before the head.
        encoder: Your own face encoder: ``module.Class``, ``{class_path, init_args}``, a class or an object; see
            `crossmodal.models.face.OwnFaceEncoder`. None for a `FaceEncoder`.
        encoder_kwargs: Additional arguments of your own encoder.
        **kwargs: Further arguments of `FaceEncoder`, which also describes the errors.

    Attributes:
        encoder: The encoder.

    Examples:
        >>> model = FaceClassifier(in_features=35, num_classes=8)
        >>> model(torch.randn(2, 16, 35)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        in_features: int | None = None,
        num_classes: int = 8,
        dropout: float = 0.3,
        encoder: Any = None,
        encoder_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if encoder is None:
            self.encoder = FaceEncoder(in_features, dropout=dropout, **kwargs)
        else:
            self.encoder = OwnFaceEncoder(face_encoder_part(encoder, encoder_kwargs), in_features)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.encoder.out_features, num_classes))

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON values: ``FaceClassifier(**config)`` accepts this model's state dict."""
        return {"num_classes": self.head[1].out_features, "dropout": self.head[0].p, **self.encoder.config}

    @property
    def normalization(self) -> FeatureNormalization | None:
        """The encoder's normalization; None for an own encoder of pixels."""
        return self.encoder.normalization

    def extract_features(self, faces: Tensor) -> Tensor:
        """Compute features of shape (B, in_features, N), to which the normalization is fitted; see `FaceEncoder`."""
        return self.encoder.extract_features(faces)

    def embed(self, faces: Tensor) -> Tensor:
        """Compute embeddings of shape (B, embedding_size); argument as in `FaceEncoder.extract_features`."""
        return self.encoder(faces)

    def predict_batch(self, batch: Mapping[str, Any]) -> Outputs:
        """Compute the outputs for a batch of a datamodule with ``face_embeddings`` or ``faces``."""
        embedding = self.embed(batch["face_embeddings"] if "face_embeddings" in batch else batch["faces"])
        return Outputs(embedding, self.classify(embedding))

    def classify(self, embedding: Tensor) -> Tensor:
        """Compute logits of shape (B, num_classes) from embeddings of shape (B, embedding_size)."""
        return self.head(embedding)

    def forward(self, faces: Tensor) -> Tensor:
        """Compute logits of shape (B, num_classes); argument as in `FaceEncoder.extract_features`."""
        return self.classify(self.embed(faces))


def _agree_on_width(in_features: int | None, backbone: FaceBackbone | None) -> int:
    width = in_features if backbone is None else backbone.num_features
    if width is None:
        raise ConfigError("A face encoder needs in_features (for --data.face_features) or a backbone (for pixels).")
    if backbone is not None and in_features not in (None, width):
        raise ConfigError(f"in_features is {in_features}, but the width of backbone {backbone.name!r} is {width}.")
    return width
