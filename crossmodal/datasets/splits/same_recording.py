"""Recordings that are listed more than once, recognized by their content, whatever their files are called."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from crossmodal.datasets.clip import Clip, Split
from crossmodal.datasets.stored_array import array_mark, read_array
from crossmodal.errors import LeakageError


def check_recordings(split: Mapping[Split, Sequence[Clip]], arrays: Mapping[str, Path], is_ravdess: bool) -> None:
    """Raise LeakageError if clips of several speakers or splits have the same waveform or face crops.

    Two takes of one actor that RAVDESS published twice are allowed. Silence and still pictures are not compared.
    """
    same: dict[object, list[tuple[Clip, Split]]] = defaultdict(list)
    for name, clips in split.items():
        for clip in clips:
            if clip.clip in arrays:
                same[array_mark(arrays[clip.clip])].append((clip, name))
    pairs = [
        f"{one.clip} (speaker {one.actor}, {name}) and {other.clip} (speaker {other.actor}, {other_name})"
        for (one, name), *others in same.values()
        for other, other_name in others
        if (one.actor != other.actor or (name != other_name and not is_ravdess))
        and _are_equal(arrays[one.clip], arrays[other.clip])
    ]
    if pairs:
        raise LeakageError(
            f"{len(pairs)} clip(s) have the same content as a clip of another speaker or split, such as "
            f"{'; '.join(pairs[:5])}. Correct the speaker and the split, or remove the copies."
        )


def _are_equal(one: Path, other: Path) -> bool:
    """Compare two arrays over time; an array that never changes, such as silence, equals no other."""
    first, second = read_array(one), read_array(other)
    if first is None or second is None:  # of a stream, whose names are keys of the content
        return one == other
    return np.array_equal(first, second) and not (first == first[:1]).all()
