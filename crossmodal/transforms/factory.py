"""Augmentation by name."""
# To add one, write a class in its own file, and add its name to the Literal and to the dict below it.

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.naming import create
from crossmodal.transforms.augmentation import (
    AdditiveNoise,
    RandomCrop,
    RandomGain,
    TimeShift,
    WaveformAugmentation,
)
from crossmodal.transforms.mixup import Mixup
from crossmodal.transforms.random_transform import RandomTransform
from crossmodal.transforms.spec_augment import SpecAugment
from crossmodal.transforms.speed_and_pitch import PitchPerturbation, SpeedPerturbation

AugmentationName = Literal["crop", "gain", "mixup", "noise", "pitch", "shift", "spec_augment", "speed"]
# In the order in which they are applied. Changes of the voice come before those of room and microphone, so that the
# pitch of the noise does not change with the voice.
_AUGMENTATIONS: dict[AugmentationName, type[RandomTransform]] = {
    "speed": SpeedPerturbation,
    "pitch": PitchPerturbation,
    "crop": RandomCrop,
    "shift": TimeShift,
    "gain": RandomGain,
    "noise": AdditiveNoise,
    "mixup": Mixup,
    "spec_augment": SpecAugment,
}


class Augmentation(nn.Module):
    """Random augmentation in training. It has two methods, because the front end runs between them."""

    def __init__(
        self,
        waveform: Iterable[WaveformAugmentation] = (),
        mixup: Mixup | None = None,
        spec_augment: SpecAugment | None = None,
    ) -> None:
        super().__init__()
        self.waveform = nn.ModuleList(waveform)
        self.mixup = mixup
        self.spec_augment = spec_augment

    def batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a new batch with the ``waveform`` augmented, if present, and clips mixed; see `Mixup` for its keys."""
        if "waveform" in batch:
            waveform = batch["waveform"]
            equal = torch.full(waveform.shape[:1], waveform.shape[-1], device=waveform.device)
            length = batch.get("waveform_length", equal)
            for augment in self.waveform:
                waveform, length = augment(waveform, length)
            batch = {**batch, "waveform": waveform, "waveform_length": length}
        return batch if self.mixup is None else self.mixup(batch)

    def features(self, features: Tensor, length: Tensor) -> Tensor:
        """Augment normalized features of shape (B, F, frames) with valid lengths of shape (B,)."""
        return features if self.spec_augment is None else self.spec_augment(features, length)


def create_augmentation(
    settings: Mapping[AugmentationName, Mapping[str, Any] | None] | None = None, sample_rate: int = 16000
) -> Augmentation:
    """Create augmentation from arguments by name, in any order; None or an empty mapping means the defaults."""
    modules: dict[str, Any] = {}
    for name, arguments in (settings or {}).items():
        if not isinstance(arguments, Mapping | None):
            raise ConfigError(f"The arguments of augmentation {name!r} must be a mapping, got {arguments!r}.")
        modules[name] = create("augmentation", _AUGMENTATIONS, name, {"sample_rate": sample_rate}, arguments or {})
    waveform = [modules[name] for name in _AUGMENTATIONS if isinstance(modules.get(name), WaveformAugmentation)]
    return Augmentation(waveform, mixup=modules.get("mixup"), spec_augment=modules.get("spec_augment"))


def list_augmentations() -> list[str]:
    """List the names of the augmentations."""
    return sorted(_AUGMENTATIONS)
