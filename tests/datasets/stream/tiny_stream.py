"""A small artificial stream: clips of a tenth of a second of noise, with faces of 8 by 8 pixels."""

from pathlib import Path

import numpy as np

from crossmodal.datasets.cache import PreparedCorpus
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.stream.reader import StreamAbout
from crossmodal.datasets.stream.writer import write_stream

LABELS = ("neutral", "happy", "sad", "angry")
ACTORS = {"train": ["01", "02"], "val": ["03"], "test": ["04"]}


def tiny_split(train: int = 23, val: int = 11, test: int = 7) -> dict[str, list[Clip]]:
    """Return the given numbers of clips; every fifth has no label."""
    counts = {"train": train, "val": val, "test": test}
    return {
        name: [
            Clip(f"{name} {number:02d}", ACTORS[name][number % len(ACTORS[name])], (*LABELS, None)[number % 5])
            for number in range(count)
        ]
        for name, count in counts.items()
    }


def tiny_arrays(split: dict[str, list[Clip]], folder: Path) -> PreparedCorpus:
    """Write waveforms of different lengths, and faces."""
    clips = [clip for part in split.values() for clip in part]
    paths: dict[str, dict[str, Path]] = {"waveforms": {}, "faces": {}}
    rng = np.random.default_rng(0)
    for number, clip in enumerate(clips):
        arrays = {
            "waveforms": rng.uniform(-0.5, 0.5, 1600 + 37 * number).astype(np.float32),
            "faces": rng.integers(0, 256, (2, 3, 8, 8), dtype=np.uint8),
        }
        for kind, array in arrays.items():
            paths[kind][clip.clip] = folder / f"{clip.clip}.{kind}.npy"
            np.save(paths[kind][clip.clip], array)
    return PreparedCorpus(clips, paths["waveforms"], paths["faces"], [], made=0, reused=0)


def tiny_about(split: dict[str, list[Clip]]) -> StreamAbout:
    """Return the description of the stream."""
    numbers = {name: len(clips) for name, clips in split.items()}
    return StreamAbout(LABELS, "manifest", "tiny", "given", 0, False, ACTORS, numbers)


def write_tiny_stream(target: Path, arrays: Path, **counts: int) -> Path:
    """Write the stream; its arrays go to another folder, which must exist."""
    split = tiny_split(**counts)
    write_stream(split, tiny_arrays(split, arrays), tiny_about(split), str(target))
    return target
