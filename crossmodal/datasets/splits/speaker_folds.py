"""The protocol ``grouped``: folds of speakers with evenly distributed labels."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from crossmodal.datasets.clip import Clip, Split
from crossmodal.errors import ProtocolError

LEAST_FOLDS = 3  # one to test, one to validate, one to train


def split_by_speaker(
    clips: Sequence[Clip], corpus: Iterable[Clip], fold: int, num_folds: int
) -> dict[Split, list[Clip]]:
    """Divide clips by folds of their speakers: one for test, the next for validation, the rest for training.

    The folds are made from all clips of the `corpus`, so that unusable clips do not change them; see `group_speakers`.
    """
    folds = group_speakers(corpus, num_folds)
    if not 0 <= fold < num_folds:
        raise ProtocolError(f"grouped with {num_folds} folds has no fold {fold}: its folds are 0 to {num_folds - 1}.")
    held_out: dict[str, Split] = dict.fromkeys(folds[fold], "test")
    held_out |= dict.fromkeys(folds[(fold + 1) % num_folds], "val")
    divided: dict[Split, list[Clip]] = {"train": [], "val": [], "test": []}
    for clip in clips:
        divided[held_out.get(clip.actor, "train")].append(clip)
    return divided


def group_speakers(clips: Iterable[Clip], num_folds: int) -> list[tuple[str, ...]]:
    """Divide the speakers of a corpus greedily into 3 or more folds with similar shares of every label.

    The speakers with the most labelled clips are assigned first, each to the fold with the least of the speaker's
    labels. The folds do not depend on the order of the clips or on a seed. Speakers without labelled clips are in no
    fold, so they are always in training.

    Raises:
        ProtocolError: There are fewer than 3 folds, or fewer speakers with labelled clips than folds.

    Examples:
        >>> clips = [Clip(f"{actor}{take}", actor, "happy") for actor in "abcde" for take in range(3)]
        >>> group_speakers(clips, 3)
        [('a', 'd'), ('b', 'e'), ('c',)]
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        if clip.label is not None:
            counts[clip.actor][clip.label] += 1
    _check(num_folds, len(counts))
    labels = sorted({label for count in counts.values() for label in count})
    shares = {actor: np.array([count[label] for label in labels]) for actor, count in counts.items()}
    total = sum(shares.values(), np.zeros(len(labels)))
    shares = {actor: share / total for actor, share in shares.items()}
    filled = np.zeros((num_folds, len(labels)))
    folds: list[list[str]] = [[] for _ in range(num_folds)]
    for actor in sorted(counts, key=lambda actor: (-sum(counts[actor].values()), actor)):
        # This minimises the growth of the sum of squared shares over labels and folds. The growth in an empty fold is
        # zero, so no fold stays empty.
        growth = (filled @ shares[actor]).round(12)
        fold = min(range(num_folds), key=lambda fold: (growth[fold], len(folds[fold]), fold))
        filled[fold] += shares[actor]
        folds[fold].append(actor)
    return [tuple(sorted(fold)) for fold in folds]


def _check(num_folds: int, num_speakers: int) -> None:
    if num_folds < LEAST_FOLDS:
        raise ProtocolError(
            f"num_folds must be at least {LEAST_FOLDS}, for test, validation and training; it is {num_folds}."
        )
    if num_speakers < num_folds:
        is_enough = num_speakers >= LEAST_FOLDS
        advice = f"use --data.num_folds {num_speakers}" if is_enough else f"at least {LEAST_FOLDS} are needed"
        raise ProtocolError(
            f"grouped needs {num_folds} speakers for {num_folds} folds, but only {num_speakers} have labelled clips: "
            f"{advice}."
        )
