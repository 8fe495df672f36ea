"""Merge overlapping windows into segments without gaps."""

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from crossmodal.inference.prediction import SILENCE, Segment, Timeline, Window

SHORTEST_SEGMENT = 1.0  # s


def make_timeline(windows: Sequence[Window], duration: float, labels: Sequence[str]) -> Timeline:
    """Create a timeline from windows; see `Timeline`."""
    return Timeline(tuple(windows), tuple(find_segments(windows, labels)), duration, tuple(labels))


def find_segments(
    windows: Sequence[Window], labels: Sequence[str], shortest: float = SHORTEST_SEGMENT
) -> list[Segment]:
    """Smooth the predictions of overlapping windows and merge them into segments without gaps.

    1. The probabilities at an instant are the mean over all windows that contain it. An instant in a silent window is
       silent.
    2. The label of an instant is its most probable emotion. Equal neighbours form one segment.
    3. Segments shorter than `shortest` seconds, or than the shortest window if that is less, are merged, the shortest
       first, into the neighbour whose emotion has the higher probability in them, but never into silence.
    """
    if not windows:
        return []
    edges, means = means_over_time(windows, labels)
    names = [*labels, SILENCE]
    seconds = np.diff(edges)
    runs = _runs(means.argmax(axis=1))
    totals = np.cumsum(np.vstack([np.zeros(len(names)), means * seconds[:, None]]), axis=0)
    shortest = min(shortest, *(window.end - window.start for window in windows))
    runs = _merge_short(runs, edges, totals, shortest, silence=len(labels))
    segments = []
    for label, first, end in runs:
        start, stop = float(edges[first]), float(edges[end])
        score = float(totals[end, label] - totals[first, label]) / (stop - start)
        segments.append(Segment(start, stop, names[label], min(score, 1.0)))
    return segments


_Run = tuple[int, int, int]  # class, first cell, cell after the last


def means_over_time(
    windows: Sequence[Window], labels: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the mean probabilities at each instant: the first step of `find_segments`.

    Return N + 1 edges in seconds, one at each start and end of a window, and the means between them, (N, K + 1),
    silence last.
    """
    starts = np.array([window.start for window in windows])
    ends = np.array([window.end for window in windows])
    rows = np.zeros((len(windows) + 1, len(labels) + 1))
    silence = [0.0] * len(labels) + [1.0]
    for row, window in enumerate(windows, start=1):
        prediction = window.prediction
        rows[row] = silence if prediction.is_silence else [*map(prediction.probabilities.get, labels), 0.0]
    sums = rows.cumsum(axis=0)
    edges = np.unique(np.concatenate([starts, ends]))
    first = np.searchsorted(ends, edges[:-1], side="right")  # first window that contains a cell
    stop = np.searchsorted(starts, edges[:-1], side="right")
    means = (sums[stop] - sums[first]) / (stop - first)[:, None]
    silent = means[:, -1] > 0.5 / len(windows)
    means[silent] = rows[0]
    means[silent, -1] = 1.0
    return edges, means


def _runs(classes: NDArray[np.int64]) -> list[_Run]:
    bounds = [0, *(np.flatnonzero(np.diff(classes)) + 1).tolist(), len(classes)]
    return [(int(classes[first]), first, end) for first, end in pairwise(bounds)]


def _merge_short(
    runs: list[_Run], edges: NDArray[np.float64], totals: NDArray[np.float64], shortest: float, silence: int
) -> list[_Run]:
    """Merge short runs into a neighbour, as far as they have one that is not silence."""

    def neighbours(index: int) -> list[int]:
        return [near for near in (index - 1, index + 1) if 0 <= near < len(runs) and runs[near][0] != silence]

    while True:
        movable = [
            (edges[end] - edges[first], index)
            for index, (label, first, end) in enumerate(runs)
            if label != silence and edges[end] - edges[first] < shortest - 1e-9 and neighbours(index)
        ]
        if not movable:
            return runs
        _, index = min(movable)
        _, first, end = runs[index]
        share = totals[end] - totals[first]
        runs[index] = (max((runs[near][0] for near in neighbours(index)), key=share.__getitem__), first, end)
        joined = [list(group) for _, group in groupby(runs, key=lambda run: run[0])]
        runs = [(group[0][0], group[0][1], group[-1][2]) for group in joined]
