"""Audio encoder that applies any timm image model to the spectrogram."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.backbone import create_network
from crossmodal.models.encoder import AudioEncoder, mask_padding
from crossmodal.models.pooling import PoolingName, create_pooling
from crossmodal.transforms import length_mask


class TimmEncoder(AudioEncoder):
    """A timm network over images of the features, as in PSLA (Gong et al., TASLP 2021) and many others.

    An arbitrary network cannot mask padding in its layers. So each clip is cut into images of ``image_width`` audio
    frames, the last one zero-padded, and results do not depend on the batch. The cost is up to one image of zeros per
    clip and no context across images. The network's feature maps are averaged over their height, and the columns of a
    clip's images are pooled over time.

    Args:
        name: As for `FaceBackbone`, like ``pretrained``, ``weights`` and ``model_kwargs``.
        image_width: Number of audio frames per image.
        image_size: Height and width that images are resized to. By default images are not resized, unless the network
            accepts only one size. Some networks need more height than a front end has features.
        dropout: Fraction of the network's features dropped.

    Raises:
        ConfigError: If timm has no model of that name, or the model cannot be built with these arguments.
        WeightsError: If the weights are not available or do not fit.
    """

    # The state dict holds the weights, so rebuilding the encoder needs no download or weights file.
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
        kwargs = {"in_chans": 1, "global_pool": "", **(model_kwargs or {})}
        try:
            self.network, num_features = create_network(name, pretrained, weights, kwargs)
        except (AssertionError, TypeError) as error:
            raise ConfigError(
                f"timm's {name!r} cannot be built with one input channel, no global pooling and model_kwargs "
                f"{dict(model_kwargs or {})}: {error}"
            ) from error
        self.image_size = image_size or _fixed_size(self.network, kwargs)
        self.dropout = nn.Dropout1d(dropout)
        self.pooling = create_pooling(pooling, num_features)

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each step of a clip; shapes as for `AudioEncoder`."""
        features = F.pad(mask_padding(features, length), (0, -features.shape[-1] % self.image_width))
        # Not unflatten: an exported model would keep the sizes of the example input.
        images = features.reshape(*features.shape[:2], -1, self.image_width).transpose(1, 2)
        columns = self._masked_columns(images, length) if self.training else self._columns(images.flatten(0, 1))
        size = columns.shape[-1]
        columns = columns.reshape(*images.shape[:2], *columns.shape[1:]).transpose(1, 2).flatten(2)
        length = (length * size + self.image_width - 1) // self.image_width
        return self.dropout(columns), length

    def _masked_columns(self, images: Tensor, length: Tensor) -> Tensor:
        """Exclude images of padding from the statistics of batch normalization."""
        num_images = (length + self.image_width - 1) // self.image_width
        mask = length_mask(num_images, images.shape[1]).flatten()
        columns = self._columns(images.flatten(0, 1)[mask])
        return columns.new_zeros(len(mask), *columns.shape[1:]).index_put((mask,), columns)

    def _columns(self, images: Tensor) -> Tensor:
        """Encode images of shape (N, height, image_width) to columns of shape (N, num_features, columns)."""
        images = images[:, None]
        if self.image_size is not None and images.shape[-2:] != tuple(self.image_size):
            images = F.interpolate(images, tuple(self.image_size), mode="bilinear")
        maps = self.network(images)
        if maps.ndim == 3:
            maps = _tokens_as_map(maps, self.network)
        elif getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            maps = maps.permute(0, 3, 1, 2)
        return maps.mean(dim=2)


def _fixed_size(network: Any, model_kwargs: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return height and width of the images if the network accepts only one size."""
    pretrained_cfg = network.pretrained_cfg
    if not pretrained_cfg["fixed_input_size"] or model_kwargs.get("dynamic_img_size"):
        return None
    size = model_kwargs.get("img_size", pretrained_cfg["input_size"][-2:])
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _tokens_as_map(tokens: Tensor, network: Any) -> Tensor:
    """Reshape tokens (N, tokens, C) to a map (N, C, height, width) if they form a grid, else to one column."""
    patches = tokens[:, getattr(network, "num_prefix_tokens", 0) :].transpose(1, 2)
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if grid and patches.shape[2] == grid[0] * grid[1]:
        return patches.unflatten(2, tuple(grid))
    return tokens.transpose(1, 2)[..., None]
