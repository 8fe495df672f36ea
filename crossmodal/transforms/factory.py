"""Augmentation by name.

A new one is a class in a file of its own, a word in the Literal and a line in a dict below it.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.naming import call_with_known, look_up
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
# In the order in which they are applied. What a speaker does comes before what a room and a microphone do: noise is
# not made higher along with a voice.
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
    """What is done by chance to batches in training: to waveforms, to clips together, to features.

    It has two entries, because features are made of waveforms in between. In eval mode, and where nothing is
    configured, both return what they are given.

    Args:
        waveform: What is done to waveforms, in this order.
        mixup: What mixes clips.
        spec_augment: What hides features.
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
            batch: As `crossmodal.datamodules` makes it. ``waveform`` (B, 1, T) and ``waveform_length`` (B,) are
                changed, if it holds them; what `Mixup` changes is listed there.

        Returns:
            A new batch. After `Mixup` it holds ``mixed_label`` and ``label_weight`` in addition.
        """
        if "waveform" in batch:
            waveform, length = batch["waveform"], batch["waveform_length"]
            for augment in self.waveform:
                waveform, length = augment(waveform, length)
            batch = {**batch, "waveform": waveform, "waveform_length": length}
        return batch if self.mixup is None else self.mixup(batch)

    def features(self, features: Tensor, length: Tensor) -> Tensor:
        """Augment normalized features of shape (B, F, frames), of which so many frames, (B,), are each clip's own."""
        return features if self.spec_augment is None else self.spec_augment(features, length)


def create_augmentation(
    settings: Mapping[AugmentationName, Mapping[str, Any] | None] | None = None, sample_rate: int = 16000
) -> Augmentation:
    """Make augmentation by names.

    Args:
        settings: For each name of `list_augmentations` that is wanted, arguments of its class; None or an empty mapping
            for its defaults. Their order does not matter.
        sample_rate: Samples per second of the waveforms.

    Returns:
        The augmentation, which does nothing if there are no settings.

    Raises:
        ConfigError: There is no such name or argument, or a value cannot be.

    Example:
        >>> import torch
        >>> augmentation = create_augmentation({"speed": {"factors": [0.9, 1.1]}, "spec_augment": None})
        >>> batch = {"waveform": torch.rand(2, 1, 9900), "waveform_length": torch.tensor([9900, 9900])}
        >>> set(augmentation.batch(batch)["waveform_length"].tolist()) <= {9000, 11000}
        True
    """
    made = {name: _create(name, arguments, sample_rate) for name, arguments in (settings or {}).items()}
    waveform = [made[name] for name in _AUGMENTATIONS if isinstance(made.get(name), WaveformAugmentation)]
    return Augmentation(waveform, mixup=made.get("mixup"), spec_augment=made.get("spec_augment"))


def list_augmentations() -> list[str]:
    """Name what `create_augmentation` knows.

    Example:
        >>> list_augmentations()
        ['crop', 'gain', 'mixup', 'noise', 'pitch', 'shift', 'spec_augment', 'speed']
    """
    return sorted(_AUGMENTATIONS)


def _create(name: str, arguments: Mapping[str, Any] | None, sample_rate: int) -> Any:
    make = look_up("augmentation", _AUGMENTATIONS, name)
    if not isinstance(arguments, Mapping | None):
        raise ConfigError(f"The augmentation {name!r} takes a mapping of arguments, got {arguments!r}.")
    ours = {"sample_rate": sample_rate} if "sample_rate" in inspect.signature(make).parameters else {}
    return call_with_known(f"augmentation {name!r}", make, ours, arguments or {})
