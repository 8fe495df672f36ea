"""Label sets, protocols and folds: the division of clips into training, validation and test by actors.

The actors of the fold are for test, those of the next fold for validation, and the rest for training.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from crossmodal.datasets.clip import Clip, Split
from crossmodal.datasets.manifest_values import speaker_name
from crossmodal.datasets.splits.given_split import split_as_given
from crossmodal.datasets.splits.own_protocol import is_own_protocol, name_of_protocol, split_by_own
from crossmodal.datasets.splits.speaker_folds import split_by_speaker
from crossmodal.errors import ConfigError, LeakageError, ProtocolError

Protocol = Literal["seq6", "luna5", "emobox6", "chumachenko1", "loso24", "grouped", "given", "random"]
LabelSet = Literal["speech8", "song6", "speech6", "both8"]

_EIGHT = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
LABEL_SETS: dict[LabelSet, tuple[str, ...]] = {
    "speech8": _EIGHT,
    "song6": _EIGHT[:6],
    "speech6": _EIGHT[:6],
    "both8": _EIGHT,
}
LABEL_SET_OF_CHANNEL: dict[str, LabelSet] = {"speech": "speech8", "song": "song6", "both": "both8"}
NUM_FOLDS = 5  # default of the protocol grouped
# Actor 18 did not sing: the song corpus, and speech matched to it, have 23 actors.
NOT_IN_SONG = "18"

# The test actors of each fold.
PROTOCOLS: dict[Protocol, tuple[tuple[int, ...], ...]] = {
    # HiCMAE (Sun et al. 2024), MAE-DFER (Sun et al. 2023)
    "seq6": tuple(tuple(range(first, first + 4)) for first in range(1, 25, 4)),
    # Luna-Jimenez et al. 2021
    "luna5": ((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22)),
    # EmoBox (Ma et al. 2024)
    "emobox6": (
        *((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23)),
        *((3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22)),
    ),
    # Chumachenko et al. 2022; its second group is for validation only
    "chumachenko1": ((5, 10, 16, 19), (11, 13, 18, 22)),
    "loso24": tuple((actor,) for actor in range(1, 25)),
    # These depend on the corpus: folds of its speakers, its own split, clips at random.
    "grouped": (),
    "given": (),
    "random": ((),) * 6,
}


def label_set_for(channel: str, label_set: LabelSet | None = None) -> LabelSet:
    """Return the label set of a channel, or the given one; raise ConfigError if it does not fit the channel."""
    if label_set is None:
        return LABEL_SET_OF_CHANNEL[channel]
    if not label_set.startswith(channel):
        fitting = ", ".join(name for name in LABEL_SETS if name.startswith(channel))
        raise ConfigError(f"label_set {label_set!r} does not fit channel {channel!r}: choose {fitting}.")
    return label_set


def in_label_set(clip: Clip, label_set: LabelSet) -> bool:
    """Return True if a clip belongs to a label set; `speech6` has the speech clips with a sung counterpart."""
    if label_set == "speech6" and clip.actor == NOT_IN_SONG:
        return False
    return clip.label is None or clip.label in LABEL_SETS[label_set]


def filled_folds(protocol: Protocol, actors: Iterable[str], label_set: LabelSet = "speech8") -> list[int]:
    """Return the folds whose test actors are all present, except actor 18 in label sets with song.

    Examples:
        >>> filled_folds("seq6", [f"{actor:02d}" for actor in range(1, 17)])
        [0, 1, 2, 3]
    """
    present = set(actors)
    if label_set in ("song6", "speech6"):
        present.add(NOT_IN_SONG)
    groups = _groups(protocol)
    filled = [fold for fold, group in enumerate(groups) if present.issuperset(group) and set(group) & set(actors)]
    return [fold for fold in filled if fold == 0] if protocol == "chumachenko1" else filled


def split_actors(
    protocol: Protocol, fold: int, actors: Iterable[str], label_set: LabelSet = "speech8"
) -> dict[Split, tuple[str, ...]]:
    """Divide the actors of a corpus by a protocol's fold; raise ProtocolError if the corpus cannot fill all splits.

    A corpus with only some actors uses the folds that it can fill; the next filled fold is for validation. The label
    set determines whether actor 18 is expected. ``grouped``, ``given`` and ``random`` have no fixed actors.
    """
    actors = sorted(set(actors))
    groups = _groups(protocol)
    filled = filled_folds(protocol, actors, label_set)
    if fold not in filled:
        raise ProtocolError(_cannot_fill(protocol, fold, groups, actors, filled))
    val_fold = 1 if protocol == "chumachenko1" else filled[(filled.index(fold) + 1) % len(filled)]
    test = tuple(actor for actor in groups[fold] if actor in actors)
    val = tuple(actor for actor in groups[val_fold] if actor in actors)
    train = tuple(actor for actor in actors if actor not in test + val)
    if val_fold == fold or not val or not train:
        empty = "training" if val and val_fold != fold else "validation"
        raise ProtocolError(
            f"{protocol} fold {fold} leaves no actors for {empty}: the corpus has {len(actors)} actor(s), "
            f"{_names(actors)}, and fills the folds {_names(filled)}. "
            "loso24 needs the fewest actors (three)."
        )
    return {"train": train, "val": val, "test": test}


def split_clips(
    clips: Sequence[Clip],
    protocol: Protocol | Any,
    fold: int,
    label_set: LabelSet | None = "speech8",
    allow_speaker_leakage: bool = False,
    num_folds: int = NUM_FOLDS,
    corpus: Sequence[Clip] | None = None,
) -> dict[Split, list[Clip]]:
    """Divide usable clips into train, val and test, by a name of `PROTOCOLS` or as in `split_by_own`.

    The protocol ``grouped`` makes `num_folds` folds from all clips of the `corpus`, by default `clips`. The label set
    is that of `split_actors`, None for other corpora.

    Raises:
        ProtocolError: See `split_actors`, `split_by_speaker` and `split_as_given`.
        LeakageError: Speakers would be in more than one split, without `allow_speaker_leakage`.
    """
    if is_own_protocol(protocol):
        own = split_by_own(protocol, clips, fold, allow_speaker_leakage)
        return _check_labelled(own, name_of_protocol(protocol))
    if protocol == "given":
        return _check_labelled(split_as_given(clips, fold, allow_speaker_leakage), protocol)
    if protocol == "grouped":
        return _check_labelled(split_by_speaker(clips, corpus or clips, fold, num_folds), protocol)
    if protocol == "random":
        if not allow_speaker_leakage:
            raise LeakageError(
                "Protocol random puts the same actors into training and test, so results depend on recognising the "
                "speakers. To use it anyway, set --data.allow_speaker_leakage true; every result is then marked "
                "speaker-dependent."
            )
        return _split_at_random(clips, fold)
    split = split_actors(protocol, fold, [clip.actor for clip in clips], label_set or "speech8")
    return {name: [clip for clip in clips if clip.actor in actors] for name, actors in split.items()}


def missing_classes(split: Mapping[Split, Sequence[Clip]], labels: Sequence[str]) -> dict[Split, list[str]]:
    """Return the classes that no labelled clip of a split has, by split."""
    found = {name: {clip.label for clip in clips} for name, clips in split.items()}
    return {name: [label for label in labels if label not in found[name]] for name in split}


def check_classes(split: Mapping[Split, Sequence[Clip]], labels: Sequence[str]) -> None:
    """Raise ProtocolError if a class has no labelled training clip: no model could predict it."""
    if missing := missing_classes(split, labels)["train"]:
        raise ProtocolError(
            f"No labelled clip of the training split has the class {_names(missing)}. Choose another --data.fold or "
            "column split, more --data.labelled_actors, or remove the class from the corpus."
        )


def check_teacher(trained_on: Iterable[str], split: dict[Split, list[Clip]]) -> None:
    """Raise LeakageError if a teacher was trained on a validation or test actor of the student's split."""
    held_out = {clip.actor for name in ("val", "test") for clip in split[name]}
    trained = {speaker_name(str(name)) for name in trained_on}
    seen = {actor for actor in held_out if speaker_name(actor) in trained}
    if seen:
        raise LeakageError(
            f"The teacher was trained on actors {_names(sorted(seen))}, who are validation or test actors here, so its "
            "outputs would leak into the result. Train a teacher on this fold's training actors (as crossmodal fit "
            "does), or use the fold of this teacher."
        )


def _groups(protocol: Protocol) -> list[tuple[str, ...]]:
    if protocol not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise ProtocolError(f"Unknown protocol {protocol!r}: choose one of {known}, or give the path of a class.")
    return [tuple(f"{actor:02d}" for actor in group) for group in PROTOCOLS[protocol]]


def _cannot_fill(
    protocol: str, fold: int, groups: list[tuple[str, ...]], actors: Sequence[str], filled: list[int]
) -> str:
    if not 0 <= fold < len(groups):
        message = f"{protocol} has no fold {fold}: its folds are 0 to {len(groups) - 1}."
    else:
        missing = [actor for actor in groups[fold] if actor not in actors]
        reason = f"actors {_names(missing)} are missing" if missing else "its actors are for validation only"
        message = f"This corpus cannot fill {protocol} fold {fold} (test actors {_names(groups[fold])}): {reason}."
    if filled:
        return f"{message} It fills the folds {_names(filled)}: choose one with --data.fold."
    if not set(actors) & {actor for group in _groups("loso24") for actor in group}:
        return f"{message} {protocol} is for the actors of RAVDESS; --data.protocol grouped supports any speakers."
    return (
        f"{message} It fills no fold of {protocol}: its actors are {_names(actors)}. --data.protocol loso24 needs only "
        "one actor per fold, and three in total."
    )


def _check_labelled(split: dict[Split, list[Clip]], protocol: str) -> dict[Split, list[Clip]]:
    """Raise ProtocolError unless every split has labelled clips."""
    if empty := [name for name, clips in split.items() if all(clip.label is None for clip in clips)]:
        counts = "; ".join(f"{name} has {len(clips)}" for name, clips in split.items())
        raise ProtocolError(f"{protocol}: no usable clip of {_names(empty)} has a label. Usable clips: {counts}.")
    return split


def _names(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _split_at_random(clips: Sequence[Clip], fold: int) -> dict[Split, list[Clip]]:
    """Divide clips into six folds with each label evenly distributed, identical on every machine."""
    num_folds = len(PROTOCOLS["random"])
    if not 0 <= fold < num_folds:
        raise ProtocolError(f"random has no fold {fold}: its folds are 0 to {num_folds - 1}.")
    by_label: dict[str | None, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.clip):
        by_label[clip.label].append(clip)
    divided: dict[Split, list[Clip]] = {"train": [], "val": [], "test": []}
    names: dict[int, Split] = {fold: "test", (fold + 1) % num_folds: "val"}
    generator = random.Random(0)  # shared: the same order for each label would put the same actors into each fold
    for same_label in by_label.values():
        generator.shuffle(same_label)
        for position, clip in enumerate(same_label):
            divided[names.get(position % num_folds, "train")].append(clip)
    if empty := [name for name, part in divided.items() if not part]:
        raise ProtocolError(
            f"random fold {fold} leaves no clips for {_names(empty)}: the corpus has {len(clips)} clip(s), and "
            f"{num_folds} clips of a label are needed to fill every fold."
        )
    return divided
