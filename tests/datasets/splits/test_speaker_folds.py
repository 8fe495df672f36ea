import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from crossmodal.datasets.clip import Clip
from crossmodal.datasets.splits.given_split import shared_speakers, split_as_given
from crossmodal.datasets.splits.protocols import split_clips
from crossmodal.datasets.splits.speaker_folds import group_speakers, split_by_speaker
from crossmodal.errors import LeakageError, ProtocolError

LABELS = ("angry", "calm", "happy", "sad")


def corpus(counts):
    """Return clips with the given count per speaker and label; the label None is unlabelled."""
    return [
        Clip(f"{speaker}-{label}-{number}", speaker, label)
        for speaker, of_label in counts.items()
        for label, count in of_label.items()
        for number in range(count)
    ]


corpora = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.dictionaries(st.sampled_from([*LABELS, None]), st.integers(1, 9), min_size=1),
    min_size=3,
    max_size=30,
).map(corpus)


def labelled(clips):
    return sorted({clip.actor for clip in clips if clip.label})


def shares(clips, folds):
    """Return the share of each label's clips in each fold, (folds, labels)."""
    fold_of = {speaker: index for index, fold in enumerate(folds) for speaker in fold}
    names = sorted({clip.label for clip in clips if clip.label})
    counts = np.zeros((len(folds), len(names)))
    for clip in clips:
        if clip.label:
            counts[fold_of[clip.actor], names.index(clip.label)] += 1
    return counts / counts.sum(axis=0)


@given(clips=corpora, num_folds=st.integers(3, 6))
def test_every_speaker_with_labels_is_in_one_fold_and_no_fold_is_empty(clips, num_folds):
    assume(len(labelled(clips)) >= num_folds)
    folds = group_speakers(clips, num_folds)
    assert len(folds) == num_folds
    assert all(folds)
    assert sorted(speaker for fold in folds for speaker in fold) == labelled(clips)


@given(clips=corpora, num_folds=st.integers(3, 6), seed=st.integers(0, 99))
def test_folds_do_not_depend_on_the_order_of_clips(clips, num_folds, seed):
    assume(len(labelled(clips)) >= num_folds)
    shuffled = random.Random(seed).sample(clips, len(clips))
    assert group_speakers(shuffled, num_folds) == group_speakers(clips, num_folds)


@given(clips=corpora, num_folds=st.integers(3, 6), fold=st.integers(0, 5), used=st.randoms(use_true_random=False))
def test_no_speaker_is_in_two_splits_and_every_clip_is_in_one(clips, num_folds, fold, used):
    assume(len(labelled(clips)) >= num_folds > fold)
    usable = used.sample(clips, used.randint(1, len(clips)))
    divided = split_by_speaker(usable, clips, fold, num_folds)
    assert not shared_speakers(divided)
    assert Counter(clip.clip for part in divided.values() for clip in part) == Counter(clip.clip for clip in usable)
    folds = group_speakers(clips, num_folds)
    speakers = {clip.actor for clip in usable}
    assert {clip.actor for clip in divided["test"]} == speakers & {*folds[fold]}
    assert {clip.actor for clip in divided["val"]} == speakers & {*folds[(fold + 1) % num_folds]}
    assert speakers - {*labelled(clips)} <= {clip.actor for clip in divided["train"]}


@given(st.integers(1, 5), st.integers(3, 5), st.integers(1, 4))
def test_equal_speakers_give_equal_folds(times, num_folds, count):
    clips = corpus({f"{number:03d}": dict.fromkeys(LABELS, count) for number in range(times * num_folds)})
    np.testing.assert_allclose(shares(clips, group_speakers(clips, num_folds)), 1 / num_folds)


def test_labels_are_spread_as_evenly_as_by_scikit_learn():
    """Compare the mean distance of label shares from equal ones over several corpora."""
    ours, theirs = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        speakers, num_folds = int(rng.integers(8, 60)), int(rng.integers(3, 6))
        weights = rng.dirichlet([rng.choice([0.5, 2.0, 20.0])] * 4, speakers)
        counts = rng.poisson(weights * rng.lognormal(3, 0.7, (speakers, 1)) * 4) + 1
        clips = corpus({f"{row:03d}": dict(zip(LABELS, count, strict=True)) for row, count in enumerate(counts)})
        actors, labels = (np.array([getattr(clip, name) for clip in clips]) for name in ("actor", "label"))
        reference = StratifiedGroupKFold(num_folds).split(actors, labels, actors)
        their_folds = [tuple(np.unique(actors[test])) for _, test in reference]
        for found, folds in ((ours, group_speakers(clips, num_folds)), (theirs, their_folds)):
            found.append(np.abs(shares(clips, folds) - 1 / num_folds).mean())
    assert np.mean(ours) < np.mean(theirs)
    assert np.mean(ours) < 0.03


def test_rare_labels_and_one_dominant_speaker():
    """With only the sad clips counted, two of the three calm speakers would share a fold."""
    calm = {name: {"sad": 50, "calm": 5} for name in "xyz"}
    clips = corpus({"a": {"sad": 200}, "b": {"sad": 100}, "c": {"sad": 100}, **calm})
    assert group_speakers(clips, 3) == [("a", "z"), ("b", "x"), ("c", "y")]
    clips = corpus({"most": {"sad": 900, "calm": 50}, **{f"{n}": {"sad": 1, "calm": 1} for n in range(6)}})
    folds = group_speakers(clips, 4)
    assert ("most",) in folds
    assert sorted(map(len, folds)) == [1, 2, 2, 2]


@pytest.mark.parametrize(
    "speakers, num_folds, expected",
    [
        (4, 5, "5 folds.* 4 .*--data.num_folds 4"),
        (3, 5, "5 folds.* 3 .*--data.num_folds 3"),
        (2, 5, "only 2 .*at least 3"),
        (0, 3, "only 0 .*at least 3"),
        (9, 2, "num_folds .*at least 3.* 2"),
    ],
)
def test_too_few_speakers_or_folds(speakers, num_folds, expected):
    clips = corpus({f"{n}": {"sad": 1, "calm": 1} for n in range(speakers)} | {"unlabelled": {None: 5}})
    with pytest.raises(ProtocolError, match=expected):
        group_speakers(clips, num_folds)


def test_fold_without_usable_clips_and_unknown_fold():
    clips = corpus({f"{n}": {"sad": 2, "calm": 2} for n in range(3)})
    test = group_speakers(clips, 3)[0]
    usable = [clip for clip in clips if clip.actor not in test]
    with pytest.raises(ProtocolError, match=r"grouped: .*test"):
        split_clips(usable, "grouped", 0, num_folds=3, corpus=clips)
    for fold in (-1, 3):
        with pytest.raises(ProtocolError, match=rf"fold {fold}: .* 0 to 2"):
            split_clips(clips, "grouped", fold, num_folds=3)


class TestGiven:
    def clips(self, **splits):
        return [Clip(f"{actor}{n}", actor, "sad", split=split) for n, (actor, split) in enumerate(splits.items())]

    def test_split_is_used_unchanged(self):
        clips = self.clips(Ada="train", Bo="val", Cy="test", Di="train")
        divided = split_clips(clips, "given", 0)
        actors = {name: [clip.actor for clip in part] for name, part in divided.items()}
        assert actors == {"train": ["Ada", "Di"], "val": ["Bo"], "test": ["Cy"]}
        with pytest.raises(ProtocolError, match=r"fold 0.* 1\."):
            split_clips(clips, "given", 1)
        with pytest.raises(ProtocolError, match="grouped"):
            split_clips(self.clips(Ada=None, Bo=None), "given", 0)

    def test_speakers_in_two_parts_are_rejected(self):
        clips = [*self.clips(Ada="train", Bo="val", Cy="test"), Clip("more", "Ada", "sad", split="test")]
        with pytest.raises(LeakageError, match=r"1 speaker.*Ada \(train, test\)\."):
            split_clips(clips, "given", 0)
        divided = split_clips(clips, "given", 0, allow_speaker_leakage=True)
        assert shared_speakers(divided) == {"Ada": ["train", "test"]}
        many = [Clip(f"{n}{part}", f"who{n:02d}", "sad", split=part) for n in range(20) for part in ("train", "val")]
        with pytest.raises(LeakageError, match=r"20 speaker.* who07 \(train, val\); and 12 more"):
            split_as_given(many, 0)

    @pytest.mark.parametrize("part", ["val", "test", "train"])
    def test_part_without_labels(self, part):
        clips = self.clips(Ada="train", Bo="val", Cy="test")
        clips = [Clip(clip.clip, clip.actor, None if clip.split == part else "sad", split=clip.split) for clip in clips]
        with pytest.raises(ProtocolError, match=f"given: .*{part}") as error:
            split_clips(clips, "given", 0)
        assert "train has 1; val has 1; test has 1" in str(error.value)
