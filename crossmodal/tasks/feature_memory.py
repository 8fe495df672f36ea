"""What the front end made of a clip, kept in memory, so that a training step does not make it again."""

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from crossmodal.transforms import Augmentation, SpeedPerturbation, pad_features

MAX_BYTES = 2**30  # 960 RAVDESS clips at seven speeds, 40 MFCC: 0.2 GB; what does not fit is made each time

Hear = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
_Key = tuple[str, float, int, float]


class FeatureMemory:
    """Features by clip and speed.

    The front end has nothing to learn, and a clip has as many versions as there are speeds: so in a few epochs all have
    been heard, and on a CPU a step then costs a third. A clip is heard alone, never in its batch: its features are the
    same to the last bit whenever it is heard first.

    Args:
        hear: What to remember: from waveforms, (1, 1, T), and lengths, (1,), to features, (1, F, frames), and how many
            frames are the clip's own.
        speed: The only augmentation of waveforms, if there is one.
        max_bytes: How much is kept at most.
    """

    def __init__(self, hear: Hear, speed: SpeedPerturbation | None = None, max_bytes: int = MAX_BYTES) -> None:
        self._hear, self._speed = hear, speed
        self._left = max_bytes
        self._heard: dict[_Key, Tensor] = {}

    @classmethod
    def shared(cls, key: str, hear: Hear, speed: SpeedPerturbation | None = None) -> "FeatureMemory":
        """The one memory of all tasks that hear the same of a clip, as long as somebody keeps it.

        So the stages of a run, and runs that follow each other in a process, hear a clip once.

        Args:
            key: Of all that decides what `hear` makes of a waveform.
            hear: See the class.
            speed: See the class.
        """
        memory = _MEMORIES.setdefault(key, cls(hear, speed))
        memory._hear, memory._speed = hear, speed
        return memory

    @staticmethod
    def serves(augmentation: Augmentation) -> bool:
        """Whether a clip has so few versions under this augmentation that they can be kept."""
        return all(isinstance(one, SpeedPerturbation) for one in augmentation.waveform)

    @torch.no_grad()
    def features(self, batch: dict[str, Any], training: bool) -> tuple[Tensor, Tensor]:
        """Features of a batch, (B, F, frames), zero beyond their lengths, (B,); in training, each at a drawn speed."""
        waveform, length = batch["waveform"], batch["waveform_length"]
        speeds = [1.0] * len(waveform)
        if self._speed is not None and training:
            speeds = self._speed.draw(len(waveform))
        # Should another clip bear a name that is known, its sound will not have the same sum.
        sums = waveform.sum(dim=(1, 2), dtype=torch.double).tolist()
        keys = list(zip(batch["clip"], speeds, length.tolist(), sums, strict=True))
        return pad_features([self._recall(key, clip) for key, clip in zip(keys, waveform, strict=True)])

    def _recall(self, key: _Key, clip: Tensor) -> Tensor:
        """The features, (F, frames), of a clip, (1, T)."""
        if key in self._heard:
            return self._heard[key]
        _, speed, samples, _ = key
        # A copy, for where a clip lies in its batch, and so at which address, would show in the last bit.
        waveform, length = clip[None, :, :samples].clone(), torch.tensor([samples], device=clip.device)
        # In single precision whatever the run's own: other runs in this process may remember it too.
        with torch.autocast(clip.device.type, enabled=False):
            if self._speed is not None:
                waveform, length = self._speed.play(waveform, length, speed)
            features, own = self._hear(waveform, length)
        features = features[0, :, : int(own)].clone()
        if features.nbytes <= self._left:
            self._left -= features.nbytes
            self._heard[key] = features
        return features


_MEMORIES: WeakValueDictionary[str, FeatureMemory] = WeakValueDictionary()
