"""The voice model, which maps a waveform to emotions."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.factory import audio_encoder_part, front_end_part
from crossmodal.models.outputs import Outputs
from crossmodal.models.pooling import WeightedLayerSum
from crossmodal.models.pretrained import PretrainedFrontEnd
from crossmodal.transforms import ClipNormalization, FeatureNormalization, length_mask

ClipNormalizationName = Literal["mean", "mean_std"]
FeatureAugmentation = Callable[[Tensor, Tensor], Tensor]  # (B, F, frames) and lengths, (B,), to the same shape
_MIN_SECONDS = 0.1


class AudioClassifier(nn.Module):
    """Front end, normalization, encoder, embedding and head in one module.

    The front end is part of the model, so training and inference cannot differ. The result for a clip depends neither
    on the other clips of the batch nor on the content of its padding.

    Args:
        front_end: Name of the front end, or your own: ``module.Class``, ``{class_path, init_args}``, a class, or an
            object, which is used as it is.
        encoder: Name of the audio encoder, as for `create_audio_encoder`, or your own, as for the front end.
        num_classes: Number of emotions.
        embedding_size: Width of the embedding.
        sample_rate: Samples per second of the waveform.
        front_end_kwargs: Additional arguments of the front end.
        encoder_kwargs: Additional arguments of the encoder.
        dropout: Fraction of the embedding dropped before the head.
        clip_normalization: Normalization of each clip's features by its own statistics: ``mean`` subtracts the mean of
            each feature, ``mean_std`` also divides by its standard deviation; None for no normalization.
        corpus_normalization: Whether to standardize features with the statistics of the training actors afterwards.
        mix_layers: Whether to sum the layers of a front end by learned weights; otherwise the encoder gets all of them.

    Attributes:
        front_end: The front end. Frozen layers in it are not in the state dict and are loaded at first use.
        layer_mix: Learned weighted sum over the front end's layers; None if it has one layer, or they are not mixed.
        normalization: Standardization of features, once fitted; None without ``corpus_normalization``.

    Raises:
        ConfigError: If a name or an argument does not exist.

    Examples:
        >>> model = AudioClassifier(front_end="mfcc", encoder="lstm", num_classes=8)
        >>> waveform = torch.randn(2, 1, 16000)
        >>> model(waveform, waveform_length=torch.tensor([16000, 9000])).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        front_end: Any = "mfcc",
        encoder: Any = "lstm",
        num_classes: int = 8,
        embedding_size: int = 128,
        sample_rate: int = 16000,
        front_end_kwargs: Mapping[str, Any] | None = None,
        encoder_kwargs: Mapping[str, Any] | None = None,
        dropout: float = 0.2,
        clip_normalization: ClipNormalizationName | None = None,
        corpus_normalization: bool = True,
        mix_layers: bool = True,
    ) -> None:
        super().__init__()
        self.front_end_part = front_end_part(front_end, front_end_kwargs)
        self.encoder_part = audio_encoder_part(encoder, encoder_kwargs)
        self._config: dict[str, Any] = {
            "front_end": self.front_end_part.name,
            "encoder": self.encoder_part.name,
            "num_classes": num_classes,
            "embedding_size": embedding_size,
            "sample_rate": sample_rate,
            "dropout": dropout,
            "clip_normalization": clip_normalization,
            "corpus_normalization": corpus_normalization,
            "mix_layers": mix_layers,
        }
        self.min_samples = round(_MIN_SECONDS * sample_rate)
        self.front_end = self.front_end_part.create({"sample_rate": sample_rate}, "num_features")
        num_features = self.front_end.num_features
        scale = clip_normalization == "mean_std"
        self.clip_normalization = ClipNormalization(scale) if clip_normalization else None
        self.normalization = FeatureNormalization(num_features) if corpus_normalization else None
        num_layers = getattr(self.front_end, "num_layers", 1) if mix_layers else 1
        self.layer_mix = WeightedLayerSum(num_layers) if num_layers > 1 else None
        self.has_trained_layers = isinstance(self.front_end, PretrainedFrontEnd) and self.front_end.trained is not None
        if self.has_trained_layers and clip_normalization:
            raise ConfigError("clip_normalization would change the input of the trained layers: remove it.")
        in_features = getattr(self.front_end, "out_features", num_features) // num_layers
        self.encoder = self.encoder_part.create({"in_features": in_features}, "out_features")
        is_learned = self.layer_mix is not None or self.has_trained_layers
        self.summarizes: bool = getattr(self.encoder, "summarizes", False) and not is_learned
        self.projection = nn.Sequential(
            nn.Linear(self.encoder.out_features, embedding_size), nn.LayerNorm(embedding_size), nn.GELU()
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(embedding_size, num_classes))

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON values, including defaults; they rebuild this model for its state dict.

        Raises:
            ConfigError: If a part is an object whose arguments are unknown.
        """
        front_end_kwargs = self.front_end_part.stored_kwargs(["sample_rate"])
        return deepcopy(self._config) | {
            "front_end_kwargs": front_end_kwargs | getattr(self.front_end, "rebuild_kwargs", {}),
            "encoder_kwargs": self.encoder_part.stored_kwargs(["in_features"]),
        }

    @property
    def classes_and_width(self) -> tuple[int, int]:
        """Number of emotions, and width of the embedding."""
        return self._config["num_classes"], self._config["embedding_size"]

    def run_front_end(self, waveform: Tensor, waveform_length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the front end's features without normalization; clips below 0.1 s are zero-padded to 0.1 s.

        Args:
            waveform: Waveforms in [-1, 1], of shape (B, 1, T); samples beyond their lengths are ignored.
            waveform_length: Length of each waveform in samples, of shape (B,); defaults to T for all.

        Returns:
            Features of shape (B, num_features, audio frames), and the number of valid audio frames of each clip, of
            shape (B,).

        Raises:
            ConfigError: If a shape is wrong.
        """
        _check_shapes(waveform, waveform_length)
        if waveform_length is None:
            waveform_length = torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
        mask = length_mask(waveform_length, waveform.shape[-1])
        waveform = waveform.masked_fill(~mask[:, None], 0.0)
        waveform = F.pad(waveform, (0, max(self.min_samples - waveform.shape[-1], 0)))
        waveform_length = waveform_length.clamp(self.min_samples, waveform.shape[-1])
        result: tuple[Tensor, Tensor] = self.front_end(waveform, waveform_length)
        return result

    def normalize_clips(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the clip normalization, if any, to new or stored results of `run_front_end`; lengths do not change.

        Raises:
            ConfigError: If the shape of the features is not that of the front end.
        """
        if features.ndim != 3 or features.shape[1] != self.front_end.num_features:
            raise ConfigError(
                f"Features must have shape (B, {self.front_end.num_features}, audio frames) for this front end, got "
                f"{tuple(features.shape)}. Stored features may be from another model or other layers."
            )
        if self.clip_normalization is not None:
            return self.clip_normalization(features, length), length
        return features, length

    def extract_features(self, waveform: Tensor, waveform_length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the features that the corpus normalization is fitted to; see `run_front_end` for the arguments."""
        return self.normalize_clips(*self.run_front_end(waveform, waveform_length))

    def batch_features(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the results of `run_front_end` for a batch: its stored ``features``, or those of its ``waveform``."""
        if "features" in batch:
            return batch["features"], batch["feature_length"]
        return self.run_front_end(batch["waveform"], batch.get("waveform_length"))

    def predict_batch(self, batch: Mapping[str, Any]) -> Outputs:
        """Compute the outputs for a batch of a datamodule.

        It has ``waveform`` and, unless all clips are equally long, ``waveform_length``; or ``features`` and
        ``feature_length`` stored from the front end; or ``summary``, (B, V, P), whose first version is the clip itself.
        """
        if "summary" in batch:
            embedding = self.encode_summary(batch["summary"][:, 0])
        else:
            embedding = self.encode(*self.normalize_clips(*self.batch_features(batch)))
        return Outputs(embedding, self.classify(embedding))

    def encode(self, features: Tensor, length: Tensor, augment: FeatureAugmentation | None = None) -> Tensor:
        """Compute embeddings of shape (B, embedding_size) from the results of `extract_features`.

        The augmentation is applied to normalized features, whose mean is zero.
        """
        encoded = self.encoder(*self._prepare(features, length, augment))
        if encoded.ndim != 2 or encoded.shape[1] != self.encoder.out_features:
            raise ConfigError(
                f"The audio encoder {self.encoder_part.name} must return one vector per clip, of shape (B, "
                f"{self.encoder.out_features}), got {tuple(encoded.shape)}."
            )
        return self.projection(encoded)

    def _normalize(self, features: Tensor) -> Tensor:
        return features if self.normalization is None else self.normalization(features)

    def _prepare(self, features: Tensor, length: Tensor, augment: FeatureAugmentation | None) -> tuple[Tensor, Tensor]:
        """Compute the encoder's input and its length; trained layers get features on the scale of the frozen ones."""
        if augment is not None:
            features = augment(self._normalize(features), length)
            if self.has_trained_layers and self.normalization is not None:
                features = self.normalization.inverse(features)
        elif not self.has_trained_layers:
            features = self._normalize(features)
        if self.has_trained_layers:
            features, length = self.front_end.finish(features, length)
        return features if self.layer_mix is None else self.layer_mix(features), length

    def summarize(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute summaries, (B, P), from the results of `extract_features`; training does not change them."""
        return self.encoder.summarize(self._normalize(features), length)

    def encode_summary(self, summary: Tensor) -> Tensor:
        """Compute embeddings of shape (B, embedding_size) from the results of `summarize`."""
        return self.projection(self.encoder.encode_summary(summary))

    def embed(self, waveform: Tensor, waveform_length: Tensor | None = None) -> Tensor:
        """Compute embeddings of shape (B, embedding_size); arguments as in `run_front_end`."""
        return self.encode(*self.extract_features(waveform, waveform_length))

    def classify(self, embedding: Tensor) -> Tensor:
        """Compute logits of shape (B, num_classes) from embeddings."""
        return self.head(embedding)

    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> Tensor:
        """Compute logits of shape (B, num_classes); arguments as in `run_front_end`."""
        return self.classify(self.embed(waveform, waveform_length))


def _check_shapes(waveform: Tensor, waveform_length: Tensor | None) -> None:
    if waveform.ndim != 3 or waveform.shape[1] != 1 or waveform.shape[2] == 0:
        raise ConfigError(f"waveform must have shape (B, 1, T) with T > 0, got {tuple(waveform.shape)}.")
    if waveform_length is not None and waveform_length.shape != waveform.shape[:1]:
        raise ConfigError(
            f"waveform_length must have shape (B,) = ({len(waveform)},), got {tuple(waveform_length.shape)}."
        )
