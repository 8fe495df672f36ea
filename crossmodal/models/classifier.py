"""The voice model: from a waveform to emotions."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.factory import AudioEncoderName, FrontEndName, create_audio_encoder, create_front_end
from crossmodal.models.layer_mix import LayerMix
from crossmodal.models.outputs import Outputs
from crossmodal.models.pooling import MeanPooling
from crossmodal.models.windows import cut_into_windows
from crossmodal.naming import with_defaults
from crossmodal.transforms import ClipNormalization, FeatureNormalization, length_mask

ClipNormalizationName = Literal["mean", "mean_std"]
FeatureAugmentation = Callable[[Tensor, Tensor], Tensor]  # (B, F, frames) and lengths, (B,), to the same shape
_MIN_SECONDS = 0.1


class AudioClassifier(nn.Module):
    """Front end, normalization, encoder, embedding and head in one module.

    The front end is part of the model: training and use cannot differ, and what is exported takes sound. The result for
    a clip depends neither on its batch nor on what stands in its padding.

    Args:
        front_end: Name of the front end.
        encoder: Name of the audio encoder, as for `create_audio_encoder`.
        num_classes: Number of emotions.
        embedding_size: Width of the embedding.
        sample_rate: Samples per second of the waveform.
        front_end_kwargs: Further arguments of the front end.
        encoder_kwargs: Further arguments of the encoder.
        dropout: Share of the embedding dropped before the head.
        clip_normalization: What is taken away from each clip's features by its own statistics: the ``mean`` of each
            feature, or ``mean_std``, its deviation too; None for nothing.
        corpus_normalization: Whether features are then brought to zero mean and unit variance over the training actors.

    Attributes:
        front_end: The front end. A frozen network in it is in no state dict, and is loaded when it is first used.
        layer_mix: What makes one set of features of those of many layers; None where the front end has one.
        normalization: Its statistics are those of the training actors, once they are fitted; None without
            ``corpus_normalization``.
        encoder: The audio encoder.

    Raises:
        ConfigError: A name or an argument that there is not.

    Example:
        >>> model = AudioClassifier(front_end="mfcc", encoder="lstm", num_classes=8)
        >>> waveform = torch.randn(2, 1, 16000)
        >>> model(waveform, waveform_length=torch.tensor([16000, 9000])).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        front_end: FrontEndName = "mfcc",
        encoder: AudioEncoderName | str = "lstm",
        num_classes: int = 8,
        embedding_size: int = 128,
        sample_rate: int = 16000,
        front_end_kwargs: Mapping[str, Any] | None = None,
        encoder_kwargs: Mapping[str, Any] | None = None,
        dropout: float = 0.2,
        clip_normalization: ClipNormalizationName | None = None,
        corpus_normalization: bool = True,
    ) -> None:
        super().__init__()
        self._config: dict[str, Any] = {
            "front_end": front_end,
            "encoder": encoder,
            "num_classes": num_classes,
            "embedding_size": embedding_size,
            "sample_rate": sample_rate,
            "dropout": dropout,
            "clip_normalization": clip_normalization,
            "corpus_normalization": corpus_normalization,
        }
        self.min_samples = round(_MIN_SECONDS * sample_rate)
        self.front_end = create_front_end(front_end, sample_rate, **(front_end_kwargs or {}))
        num_features = self.front_end.num_features
        self.clip_normalization = (
            ClipNormalization(scale=clip_normalization == "mean_std") if clip_normalization else None
        )
        self.normalization = FeatureNormalization(num_features) if corpus_normalization else None
        num_layers = self.front_end.num_layers
        self.layer_mix = LayerMix(num_layers) if num_layers > 1 else None
        self.encoder = create_audio_encoder(encoder, num_features // num_layers, **(encoder_kwargs or {}))
        spelled_out = with_defaults(type(self.front_end), front_end_kwargs or {}, ["sample_rate"])
        self._config["front_end_kwargs"] = {**spelled_out, **self.front_end.rebuild_kwargs}
        spelled_out = with_defaults(type(self.encoder), encoder_kwargs or {}, ["in_features", "name"])
        self._config["encoder_kwargs"] = {**spelled_out, **self.encoder.rebuild_kwargs}
        self.projection = nn.Sequential(
            nn.Linear(self.encoder.out_features, embedding_size), nn.LayerNorm(embedding_size), nn.GELU()
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(embedding_size, num_classes))

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments as JSON, defaults spelled out: what this model's state dict fits."""
        return deepcopy(self._config)

    def run_front_end(self, waveform: Tensor, waveform_length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the front end's features, and nothing more.

        Clips shorter than 0.1 s are padded with zeros to it.

        Args:
            waveform: Waveforms in [-1, 1], of shape (B, 1, T); what stands beyond their lengths is ignored.
            waveform_length: Length of each in samples, of shape (B,); T for all if not given.

        Returns:
            Features of shape (B, num_features, audio frames), and how many of the audio frames are each clip's own, of
            shape (B,).

        Raises:
            ConfigError: The shapes are others.
        """
        _check_shapes(waveform, waveform_length)
        if waveform_length is None:
            waveform_length = torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
        mask = length_mask(waveform_length, waveform.shape[-1])
        waveform = waveform.masked_fill(~mask[:, None], 0.0)
        waveform = F.pad(waveform, (0, max(self.min_samples - waveform.shape[-1], 0)))
        waveform_length = waveform_length.clamp(self.min_samples, waveform.shape[-1])
        features, length = self.front_end(waveform, waveform_length)
        return features, length

    def normalize_clips(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Do the clip normalization, if it is asked for, on what `run_front_end` returned, now or once.

        Returns:
            Features of shape (B, num_features, audio frames), and their lengths, (B,), unchanged.

        Raises:
            ConfigError: The features are of another shape than the front end's.
        """
        if features.ndim != 3 or features.shape[1] != self.front_end.num_features:
            raise ConfigError(
                f"Features must be of shape (B, {self.front_end.num_features}, audio frames) for this front end, got "
                f"{tuple(features.shape)}: stored ones were made with another bundle, or other layers."
            )
        if self.clip_normalization is not None:
            features = self.clip_normalization(features, length)
        return features, length

    def extract_features(self, waveform: Tensor, waveform_length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute what the corpus normalization is fitted to: arguments and results as of `run_front_end`."""
        return self.normalize_clips(*self.run_front_end(waveform, waveform_length))

    def encode(self, features: Tensor, length: Tensor, augment: FeatureAugmentation | None = None) -> Tensor:
        """Compute embeddings of shape (B, embedding_size) from what `extract_features` returns.

        Args:
            features: Features of shape (B, num_features, audio frames), those of all layers if there are many.
            length: How many audio frames of each clip are its own, of shape (B,).
            augment: What is done to the normalized features, of which zero is the mean.
        """
        return self.projection(self.encoder(self._prepare(features, length, augment), length))

    def encode_windows(
        self, features: Tensor, length: Tensor, count: int, augment: FeatureAugmentation | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute embeddings of whole clips, and of `count` equal parts of each as if they were clips.

        Args:
            features: As for `encode`.
            length: As for `encode`.
            count: How many windows N.
            augment: As for `encode`.

        Returns:
            Embeddings of shapes (B, embedding_size) and (B, N, embedding_size).

        Raises:
            ConfigError: The encoder makes nothing of parts of a clip.
        """
        if not self.encoder.has_steps:
            raise ConfigError(
                f"The encoder {self.config['encoder']!r} makes one vector of a whole clip: to teach it over time, "
                "choose one that goes through a clip, such as tdnn or lstm."
            )
        steps, length = self.encoder.steps(self._prepare(features, length, augment), length)
        whole = self.projection(self.encoder.pooling(steps, length))
        windows = self.projection(self.encoder.pooling(*cut_into_windows(steps, length, count)))
        return whole, windows.unflatten(0, (-1, count))

    def outputs(self, features: Tensor, length: Tensor, num_windows: int) -> Outputs:
        """Say all that another student can be taught; arguments as in `encode_windows`, not augmented."""
        windows = None
        if self.encoder.has_steps:
            embedding, windows = self.encode_windows(features, length, num_windows)
        else:
            embedding = self.encode(features, length)
        mean = MeanPooling(self.front_end.num_features)(self._normalize(features), length)
        return Outputs(embedding, self.classify(embedding), mean, windows)

    def _normalize(self, features: Tensor) -> Tensor:
        return features if self.normalization is None else self.normalization(features)

    def _prepare(self, features: Tensor, length: Tensor, augment: FeatureAugmentation | None) -> Tensor:
        """What the encoder sees."""
        features = self._normalize(features)
        if augment is not None:
            features = augment(features, length)
        return features if self.layer_mix is None else self.layer_mix(features)

    def summarize(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute what training does not change, (B, P), from what `extract_features` returns; see `AudioEncoder`."""
        return self.encoder.summarize(self._normalize(features), length)

    def encode_summary(self, summary: Tensor) -> Tensor:
        """Compute embeddings of shape (B, embedding_size) from what `summarize` returns."""
        return self.projection(self.encoder.encode_summary(summary))

    def embed(self, waveform: Tensor, waveform_length: Tensor | None = None) -> Tensor:
        """Compute embeddings of shape (B, embedding_size); arguments as in `run_front_end`."""
        return self.encode(*self.extract_features(waveform, waveform_length))

    def classify(self, embedding: Tensor) -> Tensor:
        """Compute logits of shape (B, num_classes) from embeddings of shape (B, embedding_size)."""
        return self.head(embedding)

    def forward(self, waveform: Tensor, waveform_length: Tensor | None = None) -> Tensor:
        """Compute logits of shape (B, num_classes); arguments as in `run_front_end`."""
        return self.classify(self.embed(waveform, waveform_length))


def _check_shapes(waveform: Tensor, waveform_length: Tensor | None) -> None:
    if waveform.ndim != 3 or waveform.shape[1] != 1 or waveform.shape[2] == 0:
        raise ConfigError(f"A waveform must be of shape (B, 1, T) with T > 0, got {tuple(waveform.shape)}.")
    if waveform_length is not None and waveform_length.shape != waveform.shape[:1]:
        raise ConfigError(
            f"waveform_length must be of shape (B,) = ({len(waveform)},), got {tuple(waveform_length.shape)}."
        )
