"""Any timm image model as an audio encoder: it looks at the spectrogram."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.backbone import create_network
from crossmodal.models.encoder import AudioEncoder, zero_padding
from crossmodal.models.pooling import PoolingName, create_pooling
from crossmodal.models.weights import load_backbone_weights
from crossmodal.transforms import length_mask


class TimmEncoder(AudioEncoder):
    """A timm network over images of the features, as in PSLA (Gong et al., TASLP 2021) and many others.

    A network that is not ours cannot be told where a clip ends: its convolutions, attention and normalization would see
    the padding. So a clip is cut into images of ``image_width`` audio frames, the last of them filled up with zeros.
    What is in an image depends on nothing but its clip, so no result does, whatever the network; and all images are one
    batch for it. What that costs: up to an image of zeros per clip, and no image sees into the next one. Time keeps its
    scale, which it would not if each clip were stretched to one image.

    The network's feature maps are averaged over their height, and the columns of a clip's images are pooled over time.

    Args:
        in_features: Number of features per audio frame.
        name: Name of a timm model, or ``hf_hub:user/repository``.
        pretrained: Whether to fetch the weights that belong to the name. Not read if ``weights`` is given.
        weights: A local file of weights (safetensors, or a state dict) to start from.
        image_width: Audio frames per image.
        image_size: Height and width that images are scaled to; as they are if not given, unless the network takes one
            size only. Some networks want more height than a front end has features.
        pooling: How the columns become one vector.
        dropout: Share of the network's features dropped.
        model_kwargs: Further arguments of ``timm.create_model``.

    Raises:
        ConfigError: timm has no model of that name, or none that can be built so.
        WeightsError: The weights cannot be had, or do not fit.

    Example:
        >>> import torch
        >>> encoder = TimmEncoder(in_features=40, name="test_resnet", pooling="mean")
        >>> encoder(torch.randn(2, 40, 300), length=torch.tensor([300, 120])).shape
        torch.Size([2, 96])
    """

    # The state dict holds the weights: who rebuilds the encoder fetches none and reads no file.
    rebuild_kwargs: ClassVar[dict[str, Any]] = {"pretrained": False, "weights": None}

    def __init__(
        self,
        in_features: int,
        name: str,
        pretrained: bool = False,
        weights: str | Path | None = None,
        image_width: int = 128,
        image_size: Sequence[int] | None = None,
        pooling: PoolingName = "stats",
        dropout: float = 0.3,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.image_width = image_width
        self.network = _create_image_network(name, pretrained and weights is None, model_kwargs or {})
        if weights is not None:
            load_backbone_weights(self.network, weights)
        self.image_size = image_size or _only_size(self.network, model_kwargs or {})
        # Where a network has a layer between its features and its classifier, that layer's width counts.
        num_features: int = getattr(self.network, "head_hidden_size", None) or self.network.num_features
        self.dropout = nn.Dropout1d(dropout)
        self.pooling = create_pooling(pooling, num_features)
        self.out_features = self.pooling.out_features

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each part of a clip; shapes as for `AudioEncoder`."""
        features = F.pad(zero_padding(features, length), (0, -features.shape[-1] % self.image_width))
        # Not unflatten: an exported file would keep the sizes of the example that it was exported with.
        images = features.reshape(*features.shape[:2], -1, self.image_width).transpose(1, 2)
        columns = self._columns_of_own(images, length) if self.training else self._columns(images.flatten(0, 1))
        size = columns.shape[-1]
        columns = columns.reshape(*images.shape[:2], *columns.shape[1:]).transpose(1, 2).flatten(2)
        length = (length * size + self.image_width - 1) // self.image_width
        return self.dropout(columns), length

    def _columns_of_own(self, images: Tensor, length: Tensor) -> Tensor:
        """Keep images of nothing but padding out of the statistics of batch normalization."""
        num_images = (length + self.image_width - 1) // self.image_width
        own = length_mask(num_images, images.shape[1]).flatten()
        seen = self._columns(images.flatten(0, 1)[own])
        return seen.new_zeros(len(own), *seen.shape[1:]).index_put((own,), seen)

    def _columns(self, images: Tensor) -> Tensor:
        """From images of shape (N, height, image_width) to columns of shape (N, num_features, columns)."""
        images = images[:, None]
        if self.image_size is not None and images.shape[-2:] != tuple(self.image_size):
            images = F.interpolate(images, tuple(self.image_size), mode="bilinear")
        maps = self.network(images)
        if maps.ndim == 3:
            maps = _tokens_as_map(maps, self.network)
        elif getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            maps = maps.permute(0, 3, 1, 2)
        return maps.mean(dim=2)


def _create_image_network(name: str, pretrained: bool, model_kwargs: Mapping[str, Any]) -> Any:
    try:
        return create_network(name, pretrained, {"in_chans": 1, "global_pool": "", **model_kwargs})
    except (AssertionError, TypeError) as error:
        raise ConfigError(
            f"timm's {name!r} cannot be built with one input channel, without global pooling, and with model_kwargs "
            f"{dict(model_kwargs)}: {error}"
        ) from error


def _only_size(network: Any, model_kwargs: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of the images of a network that takes one size only."""
    trained_with = network.pretrained_cfg
    if not trained_with["fixed_input_size"] or model_kwargs.get("dynamic_img_size"):
        return None
    size = model_kwargs.get("img_size", trained_with["input_size"][-2:])
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _tokens_as_map(tokens: Tensor, network: Any) -> Tensor:
    """Tokens (N, tokens, C) as a map (N, C, height, width) where they are patches in a grid, else as one column."""
    patches = tokens[:, getattr(network, "num_prefix_tokens", 0) :].transpose(1, 2)
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if grid and patches.shape[2] == grid[0] * grid[1]:
        return patches.unflatten(2, tuple(grid))
    return tokens.transpose(1, 2)[..., None]
