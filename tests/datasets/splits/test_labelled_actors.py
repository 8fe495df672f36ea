"""The draw of the actors that keep their labels."""

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
