"""Face backbone: any timm network applied to one face at a time."""
# timm and torchvision are imported lazily: they are slow to import and audio-only inference does not need them.

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.models.weights import load_backbone_weights
from crossmodal.naming import suggestion

_HUB_PREFIXES = ("hf_hub:", "hf-hub:")
_HUB_SECONDS = 5.0
_FACES_AT_ONCE = 64  # through a frozen network: more need more memory, but save little time
_IMAGENET = ("imagenet", "in1k", "in12k", "in21k", "in22k")  # in names of weights, such as resnet18.a1_in1k


class FaceBackbone(nn.Module):
    """A timm network without its classifier that maps faces to face embeddings.

    Faces are scaled, resized and normalized by ``torchvision.transforms.v2``.

    Args:
        name: Name of a timm model, or ``hf_hub:user/repository``.
        pretrained: Whether to download the pretrained weights of this model. Ignored if ``weights`` is given.
        weights: Path of a local weights file (safetensors or a state dict) to use instead.
        frozen: Whether to freeze the network: no gradients, always in evaluation mode.
        size: Side of the square that faces are resized to. By default faces are not resized, unless the network
            accepts only one size.
        mean: Mean of each colour channel, in [0, 1]; by default that of the model's training data.
        std: Standard deviation of each colour channel; by default that of the model's training data.
        model_kwargs: Additional arguments of ``timm.create_model``.

    Attributes:
        num_features: Width of a face embedding.

    Raises:
        ConfigError: If timm has no model of that name.
        WeightsError: If the weights are not available or do not fit.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = True,
        weights: str | Path | None = None,
        frozen: bool = True,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        from torchvision.transforms import v2

        super().__init__()
        self.name = name
        self.frozen = frozen
        self.model_kwargs = dict(model_kwargs or {})
        self.network, self.num_features = create_network(name, pretrained, weights, self.model_kwargs)
        pretrained_cfg = self.network.pretrained_cfg
        self.size = size
        if size is None and pretrained_cfg["fixed_input_size"]:
            self.size = self.model_kwargs.get("img_size", pretrained_cfg["input_size"][-1])
        self.mean = list(pretrained_cfg["mean"] if mean is None else mean)
        self.std = list(pretrained_cfg["std"] if std is None else std)
        resize = [v2.Resize((self.size, self.size))] if self.size is not None else []
        self.prepare = v2.Compose([v2.ToDtype(torch.float, scale=True), *resize, v2.Normalize(self.mean, self.std)])
        self.network.requires_grad_(not frozen)
        self.train(self.training)

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments that rebuild this module for its state dict, without reading or downloading weights."""
        return {
            "name": self.name,
            "pretrained": False,
            "frozen": self.frozen,
            "size": self.size,
            "mean": self.mean,
            "std": self.std,
            "model_kwargs": dict(self.model_kwargs),
        }

    def train(self, mode: bool = True) -> "FaceBackbone":
        """Set training mode; a frozen network stays in evaluation mode, so its batch statistics do not change."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def forward(self, faces: Tensor) -> Tensor:
        """Compute face embeddings of shape (B, N, num_features) from faces of shape (B, N, 3, H, W), uint8.

        Raises:
            ConfigError: If the faces have another shape or dtype.
        """
        if faces.ndim != 5 or faces.shape[2] != 3 or faces.dtype != torch.uint8:
            raise ConfigError(
                f"Faces must be uint8 of shape (B, N, 3, H, W), got {faces.dtype} of shape {tuple(faces.shape)}."
            )
        flat = faces.flatten(0, 1)
        parts = flat.split(_FACES_AT_ONCE) if self.frozen else [flat]  # batch normalization in training needs all
        with torch.no_grad() if self.frozen else nullcontext():
            embeddings = torch.cat([self.network(self.prepare(part)) for part in parts])
        return embeddings.unflatten(0, faces.shape[:2])


def imagenet_weights(name: str, pretrained: bool, weights: str | Path | None) -> tuple[str, int] | None:
    """Return name and input size of a network's weights if their name, in timm or of the file, is one of ImageNet."""
    import timm

    with suppress(RuntimeError):  # a tag that timm does not list
        cfg = timm.get_pretrained_cfg(name.rpartition("/")[2]) if pretrained or weights else None
        source = Path(weights).name if weights else f"{cfg.architecture}.{cfg.tag}" if cfg else ""
        return (source, cfg.input_size[-1]) if cfg and any(word in source.lower() for word in _IMAGENET) else None
    return None


def create_network(
    name: str, pretrained: bool, weights: str | Path | None, model_kwargs: Mapping[str, Any]
) -> tuple[Any, int]:
    """Create a timm network without its classifier, and return its output width; arguments as for `FaceBackbone`."""
    import timm

    if not name.startswith(_HUB_PREFIXES) and not timm.is_model(name):
        raise ConfigError(f"timm has no model {name!r}.{suggestion(name, timm.list_models())}")
    network = _create(name, pretrained and weights is None, model_kwargs)
    if weights is not None:
        load_backbone_weights(network, weights)
    # Some networks have a layer between their features and their classifier; its width is the output width.
    return network, getattr(network, "head_hidden_size", None) or network.num_features


def _create(name: str, pretrained: bool, model_kwargs: Mapping[str, Any]) -> Any:
    import timm

    if not name.startswith(_HUB_PREFIXES) and not pretrained:
        return timm.create_model(name, pretrained=False, num_classes=0, **model_kwargs)
    with _offline_if_hub_unreachable() as is_online:
        try:
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **model_kwargs)
        except (AssertionError, TypeError):  # invalid model_kwargs, unrelated to weights
            raise
        except Exception as error:  # the errors of the hub, httpx, requests and urllib have no narrower common base
            cause = type(error).__name__ if is_online else "the Hugging Face hub cannot be reached"
            raise WeightsError(
                f"The pretrained weights of {name!r} are not available ({cause}). Pass a local file with weights=FILE, "
                f"or start from random weights with pretrained=False."
            ) from error


@contextmanager
def _offline_if_hub_unreachable() -> Iterator[bool]:
    """Switch huggingface_hub to offline mode if one request to the hub fails; yield True if the hub is reachable."""
    # Otherwise huggingface_hub would retry for most of a minute. In offline mode it still uses its cache.
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    previous = constants.HF_HUB_OFFLINE
    is_online = not previous
    if is_online:
        try:
            get_session().head(constants.ENDPOINT, timeout=_HUB_SECONDS)
        except Exception:  # from httpx or requests, depending on the version of huggingface_hub
            is_online = False
    constants.HF_HUB_OFFLINE = not is_online
    try:
        yield is_online
    finally:
        constants.HF_HUB_OFFLINE = previous
