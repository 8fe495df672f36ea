from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.inference import SILENCE, Prediction, Window
from crossmodal.inference.prediction import NOTHING_HEARD
from crossmodal.inference.timeline import find_segments, make_timeline

LABELS = ("calm", "angry", "sad")


def heard(*numbers: float) -> Prediction:
    return Prediction.of_probabilities(LABELS, np.array(numbers)) if numbers else NOTHING_HEARD


def windows_of(*said: Prediction, window: float = 3.0, hop: float = 1.0) -> list[Window]:
    return [Window(index * hop, index * hop + window, prediction) for index, prediction in enumerate(said)]


def spans(segments):
    return [(segment.start, segment.end, segment.label) for segment in segments]


def naive_means(windows, instant):
    """What the windows say that hold an instant: the definition, in a plain loop."""
    holding = [window for window in windows if window.start <= instant < window.end]
    if any(window.prediction.is_silence for window in holding):
        return {SILENCE: 1.0}
    return {label: np.mean([window.prediction.probabilities[label] for window in holding]) for label in LABELS}


@st.composite
def timelines(draw):
    predictions = st.one_of(
        st.just(heard()), st.tuples(*[st.integers(1, 100)] * 3).map(lambda numbers: heard(*numbers))
    )
    hop = draw(st.sampled_from([0.25, 0.5, 1.0, 3.0]))
    windows = windows_of(*draw(st.lists(predictions, min_size=1, max_size=12)), hop=hop)
    remainder = draw(st.floats(0, 0.9)) * hop
    if remainder > 0.01 and len(windows) > 1:  # the last one, off the grid
        windows.append(Window(windows[-1].start + remainder, windows[-1].end + remainder, draw(predictions)))
    return windows


@given(timelines(), st.floats(0, 0.999))
def test_without_a_shortest_segment_each_instant_has_the_likeliest_of_its_windows(windows, place):
    segments = find_segments(windows, LABELS, shortest=0.0)
    instant = windows[-1].end * place
    means = naive_means(windows, instant)
    (segment,) = [segment for segment in segments if segment.start <= instant < segment.end]
    assert means.get(segment.label, 0.0) == pytest.approx(max(means.values()), abs=1e-9)


@given(timelines(), st.sampled_from([0.0, 0.5, 1.0, 5.0]))
def test_segments_cover_all_without_gaps_and_neighbours_differ(windows, shortest):
    segments = find_segments(windows, LABELS, shortest)
    assert segments[0].start == 0.0
    assert segments[-1].end == windows[-1].end
    for left, right in pairwise(segments):
        assert left.end == right.start
        assert left.label != right.label
    assert all(segment.end > segment.start and 0 <= segment.score <= 1 for segment in segments)


@given(timelines())
def test_a_short_segment_is_left_only_where_there_is_nothing_but_silence_beside_it(windows):
    segments = find_segments(windows, LABELS, shortest=1.0)
    for index, segment in enumerate(segments):
        if segment.end - segment.start < 1.0 - 1e-6:
            beside = [near.label for near in segments[max(index - 1, 0) : index + 2] if near is not segment]
            assert set(beside) <= {SILENCE}


@given(timelines())
def test_what_sounds_is_never_called_silence(windows):
    silent = [(window.start, window.end) for window in windows if window.prediction.is_silence]
    for segment in find_segments(windows, LABELS, shortest=1.0):
        if segment.label == SILENCE:
            middle = (segment.start + segment.end) / 2
            assert any(start <= middle < end for start, end in silent)
        else:
            assert not any(segment.start < end - 1e-9 and start + 1e-9 < segment.end for start, end in silent)


def test_one_window_is_one_segment():
    (segment,) = find_segments(windows_of(heard(0.2, 0.7, 0.1)), LABELS)
    assert (segment.start, segment.end, segment.label) == (0.0, 3.0, "angry")
    assert segment.score == pytest.approx(0.7)


def test_overlapping_windows_are_averaged():
    # From 1 s to 3 s both windows speak: calm 0.55, angry 0.45 on average, though the second alone says angry.
    segments = find_segments(windows_of(heard(0.8, 0.2, 0), heard(0.3, 0.7, 0)), LABELS)
    assert spans(segments) == [(0.0, 3.0, "calm"), (3.0, 4.0, "angry")]
    assert segments[0].score == pytest.approx((1 * 0.8 + 2 * 0.55) / 3)
    assert segments[1].score == pytest.approx(0.7)


def test_one_window_of_another_opinion_does_not_flicker():
    windows = windows_of(*[heard(0.6, 0.4, 0)] * 4, heard(0.45, 0.55, 0), *[heard(0.6, 0.4, 0)] * 4)
    assert spans(find_segments(windows, LABELS)) == [(0.0, 11.0, "calm")]


def test_a_short_segment_goes_to_the_likelier_neighbour():
    said = [heard(0.9, 0.1, 0)] * 2 + [heard(0.05, 0.4, 0.55)] + [heard(0.1, 0.9, 0)] * 2
    windows = windows_of(*said, window=1.0, hop=1.0)
    assert [segment.label for segment in find_segments(windows, LABELS, shortest=1.0)] == ["calm", "sad", "angry"]
    windows = windows_of(*said, window=0.5, hop=0.5)
    assert spans(find_segments(windows, LABELS, shortest=1.0)) == [
        (0.0, 1.0, "calm"),
        (1.0, 1.5, "sad"),
        (1.5, 2.5, "angry"),
    ]  # never more than a window is asked of a segment
    quarter = [prediction for prediction in said for _ in range(2)]
    windows = windows_of(*quarter, window=0.75, hop=0.25)
    assert "sad" not in [segment.label for segment in find_segments(windows, LABELS, shortest=0.75)]


def test_an_instant_in_a_silent_window_is_silent():
    windows = windows_of(heard(0.9, 0.1, 0), heard(), heard(0.1, 0.9, 0), hop=2.0)
    assert spans(find_segments(windows, LABELS)) == [(0.0, 2.0, "calm"), (2.0, 5.0, SILENCE), (5.0, 7.0, "angry")]
    assert find_segments(windows, LABELS)[1].score == 1.0


def test_a_cough_between_silences_stays():
    windows = windows_of(heard(), heard(0.1, 0.9, 0), heard(), window=1.0, hop=0.9)
    assert [segment.label for segment in find_segments(windows, LABELS)] == [SILENCE, "angry", SILENCE]


def test_a_timeline_holds_what_it_is_made_of():
    windows = windows_of(heard(0.2, 0.7, 0.1))
    timeline = make_timeline(windows, 3.0, LABELS)
    assert (timeline.windows, timeline.duration, timeline.labels) == (tuple(windows), 3.0, LABELS)
    assert timeline.segments == tuple(find_segments(windows, LABELS))


def test_no_window_no_segment():
    assert find_segments([], LABELS) == []
