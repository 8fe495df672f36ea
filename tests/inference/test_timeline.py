from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.inference import SILENCE, Prediction, Window
from crossmodal.inference.prediction import SILENT
from crossmodal.inference.timeline import find_segments, make_timeline

LABELS = ("calm", "angry", "sad")


def predicted(*numbers: float) -> Prediction:
    return Prediction.of_probabilities(LABELS, np.array(numbers)) if numbers else SILENT


def windows_of(*predictions: Prediction, window: float = 3.0, hop: float = 1.0) -> list[Window]:
    return [Window(index * hop, index * hop + window, prediction) for index, prediction in enumerate(predictions)]


def spans(segments):
    return [(segment.start, segment.end, segment.label) for segment in segments]


def naive_means(windows, instant):
    """Compute the mean over the windows that contain an instant, in a plain loop."""
    containing = [window for window in windows if window.start <= instant < window.end]
    if any(window.prediction.is_silence for window in containing):
        return {SILENCE: 1.0}
    return {label: np.mean([window.prediction.probabilities[label] for window in containing]) for label in LABELS}


@st.composite
def timelines(draw):
    predictions = st.one_of(
        st.just(predicted()), st.tuples(*[st.integers(1, 100)] * 3).map(lambda numbers: predicted(*numbers))
    )
    hop = draw(st.sampled_from([0.25, 0.5, 1.0, 3.0]))
    windows = windows_of(*draw(st.lists(predictions, min_size=1, max_size=12)), hop=hop)
    remainder = draw(st.floats(0, 0.9)) * hop
    if remainder > 0.01 and len(windows) > 1:  # the last window is off the grid
        windows.append(Window(windows[-1].start + remainder, windows[-1].end + remainder, draw(predictions)))
    return windows


@given(timelines(), st.floats(0, 0.999))
def test_without_merging_each_instant_has_its_most_probable_label(windows, place):
    segments = find_segments(windows, LABELS, shortest=0.0)
    instant = windows[-1].end * place
    means = naive_means(windows, instant)
    (segment,) = [segment for segment in segments if segment.start <= instant < segment.end]
    assert means.get(segment.label, 0.0) == pytest.approx(max(means.values()), abs=1e-9)


@given(timelines(), st.sampled_from([0.0, 0.5, 1.0, 5.0]))
def test_segments_have_no_gaps_and_neighbours_differ(windows, shortest):
    segments = find_segments(windows, LABELS, shortest)
    assert segments[0].start == 0.0
    assert segments[-1].end == windows[-1].end
    for left, right in pairwise(segments):
        assert left.end == right.start
        assert left.label != right.label
    assert all(segment.end > segment.start and 0 <= segment.score <= 1 for segment in segments)


@given(timelines())
def test_short_segments_are_merged_unless_all_neighbours_are_silent(windows):
    segments = find_segments(windows, LABELS, shortest=1.0)
    for index, segment in enumerate(segments):
        if segment.end - segment.start < 1.0 - 1e-6:
            beside = [near.label for near in segments[max(index - 1, 0) : index + 2] if near is not segment]
            assert set(beside) <= {SILENCE}


@given(timelines())
def test_silence_is_exactly_where_windows_are_silent(windows):
    silent = [(window.start, window.end) for window in windows if window.prediction.is_silence]
    for segment in find_segments(windows, LABELS, shortest=1.0):
        if segment.label == SILENCE:
            middle = (segment.start + segment.end) / 2
            assert any(start <= middle < end for start, end in silent)
        else:
            assert not any(segment.start < end - 1e-9 and start + 1e-9 < segment.end for start, end in silent)


def test_one_window_is_one_segment():
    windows = windows_of(predicted(0.2, 0.7, 0.1))
    timeline = make_timeline(windows, 3.0, LABELS)
    assert (timeline.windows, timeline.duration, timeline.labels) == (tuple(windows), 3.0, LABELS)
    assert spans(timeline.segments) == [(0.0, 3.0, "angry")]
    assert timeline.segments[0].score == pytest.approx(0.7)
    assert find_segments([], LABELS) == []


def test_overlapping_windows_are_averaged():
    # From 1 s to 3 s the mean of both windows is calm 0.55, angry 0.45, although the second one alone is angry.
    segments = find_segments(windows_of(predicted(0.8, 0.2, 0), predicted(0.3, 0.7, 0)), LABELS)
    assert spans(segments) == [(0.0, 3.0, "calm"), (3.0, 4.0, "angry")]
    assert segments[0].score == pytest.approx((1 * 0.8 + 2 * 0.55) / 3)
    assert segments[1].score == pytest.approx(0.7)


def test_a_short_segment_is_merged_into_the_more_probable_neighbour():
    predictions = [predicted(0.9, 0.1, 0)] * 2 + [predicted(0.05, 0.4, 0.55)] + [predicted(0.1, 0.9, 0)] * 2
    windows = windows_of(*predictions, window=1.0, hop=1.0)
    assert [segment.label for segment in find_segments(windows, LABELS, shortest=1.0)] == ["calm", "sad", "angry"]
    windows = windows_of(*predictions, window=0.5, hop=0.5)
    expected = [(0.0, 1.0, "calm"), (1.0, 1.5, "sad"), (1.5, 2.5, "angry")]
    assert spans(find_segments(windows, LABELS, shortest=1.0)) == expected  # at least the length of a window
    quarter = [prediction for prediction in predictions for _ in range(2)]
    windows = windows_of(*quarter, window=0.75, hop=0.25)
    assert "sad" not in [segment.label for segment in find_segments(windows, LABELS, shortest=0.75)]
