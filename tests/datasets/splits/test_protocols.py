import random
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.datasets.clip import SPLITS, Clip
from crossmodal.datasets.splits.protocols import (
    LABEL_SETS,
    PROTOCOLS,
    LabelSet,
    check_classes,
    check_teacher,
    filled_folds,
    in_label_set,
    label_set_for,
    missing_classes,
    split_actors,
    split_clips,
)
from crossmodal.errors import ConfigError, LeakageError, ProtocolError

ALL = [f"{actor:02d}" for actor in range(1, 25)]
# Copied from the papers, independently of the code.
FOLDS = {
    "seq6": "1 2 3 4 | 5 6 7 8 | 9 10 11 12 | 13 14 15 16 | 17 18 19 20 | 21 22 23 24",
    "luna5": "2 5 14 15 16 | 3 6 7 13 18 | 10 11 12 19 20 | 8 17 21 23 24 | 1 4 9 22",
    "emobox6": "1 11 20 21 | 4 10 12 14 | 8 9 19 23 | 3 5 7 24 | 2 15 16 18 | 6 13 17 22",
    "loso24": " | ".join(str(actor) for actor in range(1, 25)),
}
EIGHT = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def groups(protocol: str) -> list[set[str]]:
    return [{f"{int(actor):02d}" for actor in group.split()} for group in FOLDS[protocol].split("|")]


def make_clips(actors=ALL, labels=EIGHT, repeats: int = 2) -> list[Clip]:
    return [
        Clip(f"{label}-{repeat}-{actor}", actor, label)
        for actor in actors
        for label in labels
        for repeat in range(repeats)
    ]


@pytest.mark.parametrize("protocol", FOLDS)
def test_folds_match_the_papers(protocol):
    test_groups = groups(protocol)
    assert filled_folds(protocol, ALL) == list(range(len(test_groups)))
    for fold, group in enumerate(test_groups):
        split = split_actors(protocol, fold, ALL)
        assert set(split["test"]) == group
        assert set(split["val"]) == test_groups[(fold + 1) % len(test_groups)]
        assert sorted(split["train"] + split["val"] + split["test"]) == ALL


def test_chumachenko1_is_one_split():
    split = split_actors("chumachenko1", 0, ALL)
    assert set(split["test"]) == {"05", "10", "16", "19"}
    assert set(split["val"]) == {"11", "13", "18", "22"}
    assert len(split["train"]) == 16
    with pytest.raises(ProtocolError, match=r"validation.* folds 0: "):
        split_actors("chumachenko1", 1, ALL)


@given(
    protocol=st.sampled_from([name for name in PROTOCOLS if name != "random"]),
    fold=st.integers(-2, 25),
    actors=st.sets(st.sampled_from(ALL), min_size=1),
    label_set=st.sampled_from(get_args(LabelSet)),
)
def test_any_corpus_is_split_cleanly_or_rejected(protocol, fold, actors, label_set):
    try:
        split = split_actors(protocol, fold, actors, label_set)
    except ProtocolError as error:
        assert protocol in str(error)
        return
    parts = [split["train"], split["val"], split["test"]]
    assert all(parts)
    assert sorted(actor for part in parts for actor in part) == sorted(actors)
    assert fold in filled_folds(protocol, actors, label_set)


@given(st.sets(st.sampled_from(ALL), min_size=3))
def test_loso24_is_filled_by_any_three_actors(actors):
    folds = filled_folds("loso24", actors)
    assert [f"{fold + 1:02d}" for fold in folds] == sorted(actors)
    assert {split_actors("loso24", fold, actors)["test"][0] for fold in folds} == actors


def test_validation_skips_folds_that_are_not_filled():
    assert filled_folds("seq6", ALL[:16]) == [0, 1, 2, 3]
    assert set(split_actors("seq6", 3, ALL[:16])["val"]) == groups("seq6")[0]
    some = [actor for actor in ALL if actor not in {"07", "21"}]  # folds 1 and 5 lack an actor
    assert filled_folds("seq6", some) == [0, 2, 3, 4]
    assert set(split_actors("seq6", 0, some)["val"]) == groups("seq6")[2]
    assert set(split_actors("seq6", 4, some)["val"]) == groups("seq6")[0]
    assert {"05", "06", "08", "22"} <= set(split_actors("seq6", 0, some)["train"])


@pytest.mark.parametrize("label_set", ["song6", "speech6"])
def test_song_does_not_need_actor_18(label_set):
    singers = [actor for actor in ALL if actor != "18"]
    assert filled_folds("seq6", singers, label_set) == list(range(6))
    assert split_actors("seq6", 4, singers, label_set)["test"] == ("17", "19", "20")
    assert 4 not in filled_folds("seq6", singers, "speech8")
    divided = split_clips(make_clips(singers, EIGHT[:6]), "seq6", 4, label_set=label_set)
    assert tuple(divided) == SPLITS
    assert {clip.actor for clip in divided["test"]} == {"17", "19", "20"}
    assert sum(map(len, divided.values())) == 23 * 6 * 2
    with pytest.raises(ProtocolError, match="actors 18"):
        split_clips(make_clips(singers), "seq6", 4, label_set=None)
    assert filled_folds("loso24", singers, label_set) == [fold for fold in range(24) if fold != 17]


def test_label_sets():
    """The set speech6 drops actor 18 and the classes without songs."""
    assert {"speech8": EIGHT, "both8": EIGHT, "song6": EIGHT[:6], "speech6": EIGHT[:6]} == LABEL_SETS
    clips = [clip for clip in make_clips() if in_label_set(clip, "speech6")]
    assert {clip.actor for clip in clips} == set(ALL) - {"18"}
    assert {clip.label for clip in clips} == set(EIGHT[:6])
    assert in_label_set(Clip("x", "01", None), "speech6")
    assert all(in_label_set(clip, "speech8") for clip in make_clips())


@pytest.mark.parametrize(("channel", "label_set"), [("speech", "speech8"), ("song", "song6"), ("both", "both8")])
def test_default_label_set_of_a_channel(channel, label_set):
    assert label_set_for(channel) == label_set_for(channel, label_set) == label_set
    with pytest.raises(ConfigError, match=rf"'none'.*'{channel}'.*{label_set}"):
        label_set_for(channel, "none")


@pytest.mark.parametrize(
    ("protocol", "fold", "actors", "message"),
    [
        ("seq6", 4, 16, r"seq6 fold 4 .*actors 17, 18, 19, 20 .*folds 0, 1, 2, 3"),
        ("seq6", 6, 24, r"seq6 .* 6: .* 0 to 5\. .*--data\.fold"),
        ("seq6", -1, 24, r"seq6 .* -1"),
        ("seq6", 0, 3, r"seq6 fold 0 .*actors 04 are missing"),
        ("seq6", 0, 3, r"actors are 01, 02, 03\. .*--data\.protocol loso24"),
        ("seq6", 0, 4, r"validation: .* 4 actor\(s\).*folds 0\. loso24"),
        ("seq6", 0, 7, r"validation: .* 7 actor\(s\)"),  # although training actors would remain
        ("seq6", 0, 8, r"training: .* 8 actor\(s\)"),
        ("loso24", 0, 2, r"training"),
        ("seq7", 0, 24, r"'seq7': .*seq6, luna5, emobox6"),
    ],
)
def test_error_names_the_folds_that_can_be_filled(protocol, fold, actors, message):
    with pytest.raises(ProtocolError, match=message):
        split_actors(protocol, fold, ALL[:actors])
    with pytest.raises(ProtocolError, match=r"'seq7'|--data\.protocol grouped|no fold"):
        split_actors(protocol, fold, ["Ada", "Bo"])


def test_random_folds():
    clips = make_clips()
    shuffled = random.Random(1).sample(clips, len(clips))
    folds = [split_clips(clips, "random", fold, allow_speaker_leakage=True) for fold in range(6)]
    assert folds[2] == split_clips(shuffled, "random", 2, allow_speaker_leakage=True)
    names = sorted(clip.clip for clip in clips)
    assert sorted(clip.clip for divided in folds for clip in divided["test"]) == names
    for divided, following in zip(folds, [*folds[1:], folds[0]], strict=True):
        assert sorted(clip.clip for part in divided.values() for clip in part) == names
        assert {clip.clip for clip in divided["val"]} == {clip.clip for clip in following["test"]}
        labels, actors = (Counter(getattr(clip, name) for clip in divided["test"]) for name in ("label", "actor"))
        assert max(labels.values()) - min(labels.values()) <= 1
        assert len(actors) > 0.8 * len(ALL)
        assert max(actors.values()) <= 8  # of 16
        assert {clip.actor for clip in divided["train"]} == set(ALL)
    with pytest.raises(LeakageError, match=r"--data\.allow_speaker_leakage true"):
        split_clips(clips, "random", 0)
    with pytest.raises(ProtocolError, match=r"fold 6.* 0 to 5"):
        split_clips(clips, "random", 6, allow_speaker_leakage=True)
    with pytest.raises(ProtocolError, match=r"fold 3 .*val, test"):
        split_clips(make_clips(["01"], ["sad"]), "random", 3, allow_speaker_leakage=True)


def test_classes_without_a_labelled_training_clip_are_refused():
    unlabelled = [Clip("unlabelled", "02", None)]
    split = {"train": make_clips(["01"], ["sad"]), "val": unlabelled, "test": make_clips(["03"], ["sad", "happy"])}
    assert missing_classes(split, ["happy", "sad"]) == {"train": ["happy"], "val": ["happy", "sad"], "test": []}
    check_classes(split, ["sad"])
    with pytest.raises(ProtocolError, match=r"training split has the class happy, calm\. .*--data\.fold"):
        check_classes(split, ["happy", "sad", "calm"])


@pytest.mark.parametrize(
    ("seen", "leaked"), [(["01", "02"], "02"), (["03", "02", "24"], "02, 03"), (["2", "3.0"], "02, 03")]
)
def test_teacher_trained_on_a_held_out_actor_is_rejected(seen, leaked):
    split = {"train": make_clips(["01"]), "val": make_clips(["02"]), "test": make_clips(["03"])}
    check_teacher(["01", "24"], split)
    with pytest.raises(LeakageError, match=rf"actors {leaked}"):
        check_teacher(seen, split)
