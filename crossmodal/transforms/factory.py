"""Augmentation by name or class."""
# To add one, write a class in its own file, and add its name to the Literal and to the dict below it.

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.naming import Part
from crossmodal.transforms.augmentation import AdditiveNoise, RandomCrop, RandomGain, WaveformAugmentation
from crossmodal.transforms.random_transform import RandomTransform
from crossmodal.transforms.spec_augment import SpecAugment
from crossmodal.transforms.speed import SpeedPerturbation

AugmentationName = Literal["crop", "gain", "noise", "spec_augment", "speed"]
# In the order in which they are applied. Changes of the voice come before those of room and microphone, so that the
# pitch of the noise does not change with the voice.
_AUGMENTATIONS: dict[AugmentationName, type[RandomTransform]] = {
    "speed": SpeedPerturbation,
    "crop": RandomCrop,
    "gain": RandomGain,
    "noise": AdditiveNoise,
    "spec_augment": SpecAugment,
}


class Augmentation(nn.Module):
    """Random augmentation in training. It has two methods, because the front end runs between them."""

    def __init__(self, waveform: Iterable[WaveformAugmentation] = (), on_features: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.waveform = nn.ModuleList(waveform)
        self.on_features = nn.ModuleList(on_features)

    def batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a new batch with the ``waveform`` augmented; a batch without one is returned as it is."""
        if "waveform" not in batch:
            return batch
        waveform = batch["waveform"]
        equal = torch.full(waveform.shape[:1], waveform.shape[-1], device=waveform.device)
        length = batch.get("waveform_length", equal)
        for augment in self.waveform:
            waveform, length = augment(waveform, length)
        return {**batch, "waveform": waveform, "waveform_length": length}

    def features(self, features: Tensor, length: Tensor) -> Tensor:
        """Augment normalized features of shape (B, F, frames) with valid lengths of shape (B,)."""
        for augment in self.on_features:
            features = augment(features, length)
        return features


def create_augmentation(settings: Mapping[Any, Any] | None = None, sample_rate: int = 16000) -> Augmentation:
    """Create augmentation from arguments by name, in any order; None or an empty mapping means the defaults.

    A key may also be the path of your own class, ``module.Class``. Or it is any word, and the value a ``{class_path,
    init_args}``, a class or an object. A subclass of `WaveformAugmentation` changes waveforms. Any other module maps
    normalized features, (B, F, frames), and their lengths, (B,), to features of the same shape, in training. Your own
    are applied after those of the library, in their order.
    """
    parts = []
    for name, arguments in (settings or {}).items():
        is_part = isinstance(arguments, str | type | nn.Module) or "class_path" in (arguments or ())
        if not is_part and not isinstance(arguments, Mapping | None):
            raise ConfigError(f"The arguments of augmentation {name!r} must be a mapping, got {arguments!r}.")
        given, kwargs = (arguments, None) if is_part else (name, arguments)
        parts.append(Part.parse("augmentation", _AUGMENTATIONS, given, kwargs, nn.Module))
    order: list[str] = [*_AUGMENTATIONS]
    parts.sort(key=lambda part: order.index(part.name) if part.name in order else len(order))
    modules = [part.create({"sample_rate": sample_rate}) for part in parts]
    waveform = [one for one in modules if isinstance(one, WaveformAugmentation)]
    return Augmentation(waveform, [one for one in modules if not isinstance(one, WaveformAugmentation)])


def list_augmentations() -> list[str]:
    """List the names of the augmentations."""
    return sorted(_AUGMENTATIONS)
