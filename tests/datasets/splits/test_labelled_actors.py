"""The draw of the actors that keep their labels."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.datasets.clip import Clip
from crossmodal.datasets.splits.labelled_actors import draw_actors, hide_labels
from crossmodal.errors import ConfigError

ACTORS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3), st.sampled_from(["female", "male", None]), min_size=1, max_size=12
)


@given(ACTORS, st.integers(0, 2**32 - 1))
def test_a_smaller_draw_is_the_beginning_of_a_larger_one(sexes, seed):
    whole = draw_actors(sexes, len(sexes), seed)
    assert sorted(whole) == sorted(sexes)
    backwards = dict(reversed(sexes.items()))
    assert [draw_actors(backwards, count, seed) for count in range(1, len(sexes) + 1)] == [
        whole[:count] for count in range(1, len(sexes) + 1)
    ]


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_women_and_men_are_drawn_alternately(seed, pairs):
    sexes = {f"{number:02d}": "male" if number % 2 else "female" for number in range(1, 9)}
    drawn = [sexes[actor] for actor in draw_actors(sexes, 2 * pairs, seed)]
    assert drawn.count("female") == drawn.count("male") == pairs


def test_every_actor_is_drawn_by_some_seed():
    sexes = {f"{number:02d}": "male" if number % 2 else "female" for number in range(1, 9)}
    assert {draw_actors(sexes, 1, seed)[0] for seed in range(100)} == sexes.keys()


def test_unlabelled_speakers_are_never_drawn():
    clips = [Clip("a1", "a", "happy"), Clip("b1", "b", None), Clip("c1", "c", "sad")]
    for seed in range(20):
        kept = [clip for clip in hide_labels(clips, 1, seed) if clip.label]
        assert len(kept) == 1
        assert kept[0] in (clips[0], clips[2])
    assert hide_labels(clips, None) == clips
    with pytest.raises(ConfigError, match="labelled_actors"):
        hide_labels(clips, ["b"])


@pytest.mark.parametrize(
    ("labelled", "expected"),
    [(3, {"01", "02", "03"}), (["02"], {"02"}), ([1, "3"], {"01", "03"}), (2, None), (1, None)],
)
def test_labels_of_the_other_actors_are_hidden(labelled, expected):
    clips = [Clip(f"{actor}-{number}", actor, "sad") for actor in ("01", "02", "03") for number in range(2)]
    clips.append(Clip("unlabelled", "09", None))
    found = hide_labels(clips, labelled)
    kept = {clip.actor for clip in found if clip.label is not None}
    assert kept == (expected or {*draw_actors(dict.fromkeys(("01", "02", "03")), labelled, seed=0)})
    for clip, before in zip(found, clips, strict=True):
        assert clip == (before if clip.actor in kept else replace(before, label=None))


@pytest.mark.parametrize("labelled", [0, -1, 4, [], ["09"], ["01", "04"]], ids=str)
def test_actors_that_are_not_in_training_are_refused(labelled):
    clips = [Clip(actor, actor, "sad") for actor in ("01", "02", "03")]
    with pytest.raises(ConfigError, match="labelled_actors"):
        hide_labels([*clips, Clip("unlabelled", "09", None)], labelled)
