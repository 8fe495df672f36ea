"""The face backbone: any timm network that looks at one face at a time.

timm is imported where it is used: it takes seconds, and who only listens needs none of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.models.weights import load_backbone_weights
from crossmodal.naming import suggestion

_HUB_PREFIXES = ("hf_hub:", "hf-hub:")
_HUB_SECONDS = 5.0


class FaceBackbone(nn.Module):
    """A timm network without its classifier, from faces to face embeddings.

    Args:
        name: Name of a timm model, or ``hf_hub:user/repository``.
        pretrained: Whether to fetch the weights that belong to the name. Not read if ``weights`` is given.
        weights: A local file of weights (safetensors, or a state dict) to use instead.
        frozen: Whether the network is a fixed function: no gradient, always in evaluation mode.
        size: Side of the square that faces are scaled to; as they are if not given, unless the network takes one size
            only.
        mean: Mean of each colour in [0, 1]; what the model was trained with if not given.
        std: Standard deviation of each colour; likewise.
        model_kwargs: Further arguments of ``timm.create_model``.

    Attributes:
        num_features: Width of a face embedding.

    Raises:
        ConfigError: timm has no model of that name.
        WeightsError: The weights cannot be had, or do not fit.

    Example:
        >>> backbone = FaceBackbone("test_resnet", pretrained=False)
        >>> faces = torch.zeros(2, 4, 3, 64, 64, dtype=torch.uint8)
        >>> backbone(faces).shape == (2, 4, backbone.num_features)
        True
    """

    mean: Tensor
    std: Tensor

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
        super().__init__()
        self.name = name
        self.frozen = frozen
        self.model_kwargs = dict(model_kwargs or {})
        self.network = create_network(name, pretrained and weights is None, self.model_kwargs)
        if weights is not None:
            load_backbone_weights(self.network, weights)
        trained_with = self.network.pretrained_cfg
        self.size = size
        if size is None and trained_with["fixed_input_size"]:
            self.size = self.model_kwargs.get("img_size", trained_with["input_size"][-1])
        # Not in the state dict: they are settings, and `config` has them.
        for key, value in (("mean", mean), ("std", std)):
            colours = torch.tensor(trained_with[key] if value is None else value).view(3, 1, 1)
            self.register_buffer(key, colours, persistent=False)
        # Where a network has a layer between its features and its classifier, that layer's width counts.
        self.num_features: int = getattr(self.network, "head_hidden_size", None) or self.network.num_features
        self.network.requires_grad_(not frozen)
        self.train(self.training)

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments for a twin that a state dict will fill: it fetches nothing and reads no file."""
        return {
            "name": self.name,
            "pretrained": False,
            "frozen": self.frozen,
            "size": self.size,
            "mean": [round(value, 6) for value in self.mean.flatten().tolist()],
            "std": [round(value, 6) for value in self.std.flatten().tolist()],
            "model_kwargs": dict(self.model_kwargs),
        }

    def train(self, mode: bool = True) -> "FaceBackbone":
        """Set training mode; a frozen network stays in evaluation mode, or its batch normalization would move."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def forward(self, faces: Tensor) -> Tensor:
        """Compute face embeddings.

        Args:
            faces: Faces of shape (B, N, 3, H, W), uint8.

        Returns:
            Face embeddings of shape (B, N, num_features).

        Raises:
            ConfigError: The faces are of another shape or type.
        """
        if faces.ndim != 5 or faces.shape[2] != 3 or faces.dtype != torch.uint8:
            raise ConfigError(
                f"Faces must be uint8 of shape (B, N, 3, H, W), got {faces.dtype} of shape {tuple(faces.shape)}."
            )
        with torch.no_grad() if self.frozen else nullcontext():
            embeddings = self.network(self._prepare(faces.flatten(0, 1)))
        return embeddings.unflatten(0, faces.shape[:2])

    def _prepare(self, faces: Tensor) -> Tensor:
        pixels = faces / 255
        if self.size is not None and faces.shape[-2:] != (self.size, self.size):
            pixels = F.interpolate(pixels, (self.size, self.size), mode="bilinear", antialias=True)
        return (pixels - self.mean) / self.std


def check_network_name(name: str) -> None:
    """Refuse a name that timm does not know.

    Args:
        name: Name of a timm model, or ``hf_hub:user/repository``, which is not looked up.

    Raises:
        ConfigError: timm has no model of that name.
    """
    import timm

    if not name.startswith(_HUB_PREFIXES) and not timm.is_model(name):
        raise ConfigError(f"timm has no model {name!r}.{suggestion(name, timm.list_models())}")


def create_network(name: str, pretrained: bool, model_kwargs: Mapping[str, Any]) -> Any:
    """Make a timm network without its classifier.

    Args:
        name: Name of a timm model, or ``hf_hub:user/repository``.
        pretrained: Whether to fetch the weights that belong to the name.
        model_kwargs: Further arguments of ``timm.create_model``.

    Returns:
        The network.

    Raises:
        ConfigError: timm has no model of that name.
        WeightsError: The weights cannot be had.
    """
    import timm

    check_network_name(name)
    if not name.startswith(_HUB_PREFIXES) and not pretrained:
        return timm.create_model(name, pretrained=False, num_classes=0, **model_kwargs)
    with _offline_unless_hub_answers() as answers:
        try:
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **model_kwargs)
        except (AssertionError, TypeError):  # wrong model_kwargs are no matter of weights
            raise
        except Exception as error:  # the hub's, httpx's, requests' and urllib's errors share no narrower base
            cause = type(error).__name__ if answers else "the Hugging Face hub does not answer"
            raise WeightsError(
                f"The pretrained weights of {name!r} cannot be had ({cause}). Give a local file with weights=FILE, "
                f"or start from random weights with pretrained=False."
            ) from error


@contextmanager
def _offline_unless_hub_answers() -> Iterator[bool]:
    """Ask the hub once. If it does not answer, its library would try for the better part of a minute.

    Offline, the library still finds what it has downloaded before.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    before = constants.HF_HUB_OFFLINE
    answers = not before
    if answers:
        try:
            get_session().head(constants.ENDPOINT, timeout=_HUB_SECONDS)
        except Exception:  # httpx or requests, by the version of the library
            answers = False
    constants.HF_HUB_OFFLINE = not answers
    try:
        yield answers
    finally:
        constants.HF_HUB_OFFLINE = before
