"""In-memory cache of the features of clips, which training steps reuse."""

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from crossmodal.transforms import Augmentation, SpeedPerturbation, pad_features

MAX_BYTES = 2**30  # 960 RAVDESS clips at seven speeds, 40 MFCC: 0.2 GB; other clips are computed each time

Extract = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
_Key = tuple[str, float, int, float]


class FeatureMemory:
    """Cache of features by clip and speed.

    The front end has no learned parameters and a clip has one version per speed, so after a few epochs all versions are
    cached and a step takes a third of the time on a CPU. Features are computed for each clip alone, not in its batch,
    so they are identical to the last bit whenever they are first computed.

    Args:
        extract: Function to cache, which maps waveforms, (1, 1, T), and lengths, (1,), to features, (1, F, frames), and
            the number of valid frames.
        speed: The only augmentation of waveforms, if any.
        max_bytes: Largest size of the cache.
    """

    def __init__(self, extract: Extract, speed: SpeedPerturbation | None = None, max_bytes: int = MAX_BYTES) -> None:
        self._extract, self._speed = extract, speed
        self._free_bytes = max_bytes
        self._cache: dict[_Key, Tensor] = {}

    @classmethod
    def shared(cls, key: str, extract: Extract, speed: SpeedPerturbation | None = None) -> "FeatureMemory":
        """Return the cache shared by all tasks with the same key; it exists as long as a reference to it does.

        So the stages of a run, and consecutive runs in a process, compute the features of a clip once.

        Args:
            key: Key of everything that determines the results of `extract`.
            extract: See the class.
            speed: See the class.
        """
        memory = _MEMORIES.setdefault(key, cls(extract, speed))
        memory._extract, memory._speed = extract, speed
        return memory

    @staticmethod
    def serves(augmentation: Augmentation) -> bool:
        """Return True if a clip has few enough versions under this augmentation to be cached."""
        return all(isinstance(one, SpeedPerturbation) for one in augmentation.waveform)

    @torch.no_grad()
    def features(self, batch: dict[str, Any], training: bool) -> tuple[Tensor, Tensor]:
        """Return features of a batch, (B, F, frames), and lengths, (B,); in training each clip has a random speed."""
        waveform, length = batch["waveform"], batch["waveform_length"]
        speeds = [1.0] * len(waveform)
        if self._speed is not None and training:
            speeds = self._speed.draw(len(waveform))
        # The sum of the samples distinguishes different clips with the same name.
        sums = waveform.sum(dim=(1, 2), dtype=torch.double).tolist()
        keys = list(zip(batch["clip"], speeds, length.tolist(), sums, strict=True))
        return pad_features([self._lookup(key, clip) for key, clip in zip(keys, waveform, strict=True)])

    def _lookup(self, key: _Key, clip: Tensor) -> Tensor:
        """Return the features, (F, frames), of a clip, (1, T)."""
        if key in self._cache:
            return self._cache[key]
        _, speed, samples, _ = key
        # A copy, because the memory address of a clip in its batch would affect the last bit.
        waveform, length = clip[None, :, :samples].clone(), torch.tensor([samples], device=clip.device)
        # In single precision for any precision of the run, because other runs in this process may use the cache too.
        with torch.autocast(clip.device.type, enabled=False):
            if self._speed is not None:
                waveform, length = self._speed.play(waveform, length, speed)
            features, num_frames = self._extract(waveform, length)
        features = features[0, :, : int(num_frames)].clone()
        if features.nbytes <= self._free_bytes:
            self._free_bytes -= features.nbytes
            self._cache[key] = features
        return features


_MEMORIES: WeakValueDictionary[str, FeatureMemory] = WeakValueDictionary()
