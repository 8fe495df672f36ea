"""Draw of the training actors that keep their labels, to measure how many labels a model needs."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from crossmodal.datasets.clip import Clip, Sex
from crossmodal.datasets.manifest_values import speaker_name
from crossmodal.errors import ConfigError


def hide_labels(clips: Sequence[Clip], labelled: int | Sequence[str | int] | None, seed: int = 0) -> list[Clip]:
    """Remove the labels of training clips, except of actors with these names, or of a number of them (`draw_actors`).

    None keeps all labels. Raises ConfigError if the clips do not have these actors, or not as many with labels.
    """
    if labelled is None:
        return list(clips)
    sexes = {clip.actor: clip.sex for clip in clips if clip.label is not None}
    kept = draw_actors(sexes, labelled, seed) if isinstance(labelled, int) else _find(labelled, sexes)
    return [clip if clip.actor in kept else replace(clip, label=None) for clip in clips]


def draw_actors(sexes: Mapping[str, Sex | None], count: int, seed: int) -> list[str]:
    """Draw actors by a seed, alternately women and men where `sexes` has their sex.

    The draw depends on nothing else. With one seed, a smaller draw is the beginning of a larger one.

    Examples:
        >>> sexes = {"01": "male", "02": "female", "03": "male", "04": "female"}
        >>> sorted(sexes[actor] for actor in draw_actors(sexes, 2, seed=0))
        ['female', 'male']
    """
    if not 0 < count <= len(sexes):
        raise ConfigError(
            f"data.labelled_actors must be 1 to {len(sexes)}, because this fold has {len(sexes)} training actors with "
            f"labels; it is {count}."
        )
    groups: dict[str, list[str]] = defaultdict(list)
    for actor in sorted(sexes):
        groups[sexes[actor] or ""].append(actor)
    generator, shuffled = random.Random(seed), list(groups.values())
    for group in shuffled:
        generator.shuffle(group)
    generator.shuffle(shuffled)
    return [actor for actor in chain.from_iterable(zip_longest(*shuffled)) if actor is not None][:count]


def _find(names: Sequence[str | int], known: Mapping[str, Sex | None]) -> list[str]:
    """Return the actors with these names; RAVDESS's actor 1 is 01."""
    by_name = {speaker_name(actor): actor for actor in known}
    missing = [str(name) for name in names if speaker_name(str(name)) not in by_name]
    if missing or not names:
        raise ConfigError(
            f"data.labelled_actors names {', '.join(missing) or 'no actors'}. The training actors of this fold with "
            f"labels are {', '.join(sorted(known))}."
        )
    return [by_name[speaker_name(str(name))] for name in names]
