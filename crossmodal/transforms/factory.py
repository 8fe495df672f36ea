"""Augmentation by name.

To add one, write a class in its own file, and add its name to the Literal and to the dict below it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

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
    """Random augmentation of waveforms, of pairs of clips and of features.

    It has two methods, because the front end runs between them. In eval mode, and if nothing is configured, both return
    their input unchanged.

    Args:
        waveform: Waveform augmentations, in order of application.
        mixup: Mixup of clips.
        spec_augment: Masking of features.
    """

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
        """Augment a batch.

        Args:
            batch: A batch of `crossmodal.datamodules`. ``waveform`` (B, 1, T) and ``waveform_length`` (B,) are
                augmented if present; see `Mixup` for its keys.

        Returns:
            A new batch. After `Mixup` it also has ``mixed_label`` and ``label_weight``.
        """
        if "waveform" in batch:
            waveform, length = batch["waveform"], batch["waveform_length"]
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
    """Create augmentation by names.

    Args:
        settings: Arguments of each requested class, by name from `list_augmentations`; None or an empty mapping for its
            defaults. Their order does not matter.
        sample_rate: Samples per second of the waveforms.

    Raises:
        ConfigError: If a name or an argument does not exist, or a value is invalid.
    """
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
