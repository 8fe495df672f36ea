"""From overlapping windows to segments without gaps."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crossmodal.inference.prediction import SILENCE, Segment, Timeline, Window

SHORTEST_SEGMENT = 1.0  # s


def make_timeline(windows: Sequence[Window], duration: float, labels: Sequence[str]) -> Timeline:
    """Put windows in order and find their segments; see `Timeline`."""
    return Timeline(tuple(windows), tuple(find_segments(windows, labels)), duration, tuple(labels))


def find_segments(
    windows: Sequence[Window], labels: Sequence[str], shortest: float = SHORTEST_SEGMENT
) -> list[Segment]:
    """Smooth what overlapping windows say.

    1. Of each instant the probabilities are the mean over all windows that hold it. An instant in a window that was
       silent is silent, for all of that window is.
    2. The likeliest emotion of each instant is its label, and equal neighbours are one segment.
    3. A segment shorter than `shortest`, the shortest first, goes to that neighbour whose emotion is the likelier in
       it; never to silence.

    Args:
        windows: In order of start, the end of each not before that of the one before; without gaps.
        labels: The emotions.
        shortest: Seconds; no more than the shortest window counts.

    Returns:
        Segments in order and without gaps, from the start of the first window to the end of the last.
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
    """The first step of `find_segments`: what all windows that hold an instant say of it.

    Args:
        windows: As there, at least one.
        labels: The K emotions.

    Returns:
        N + 1 edges in seconds, wherever a window starts or ends; and for the N stretches between them the mean
        probabilities, (N, K + 1), that of silence last. Rows sum to one.
    """
    starts = np.array([window.start for window in windows])
    ends = np.array([window.end for window in windows])
    rows = np.zeros((len(windows) + 1, len(labels) + 1))
    for row, window in enumerate(windows, start=1):
        heard = window.prediction
        rows[row] = [0.0] * len(labels) + [1.0] if heard.is_silence else [*map(heard.probabilities.get, labels), 0.0]
    sums = rows.cumsum(axis=0)
    edges = np.unique(np.concatenate([starts, ends]))
    first = np.searchsorted(ends, edges[:-1], side="right")  # of the windows that hold a cell
    beyond = np.searchsorted(starts, edges[:-1], side="right")
    means = (sums[beyond] - sums[first]) / (beyond - first)[:, None]
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
    """Give short runs to a neighbour until none is left that has one to go to."""
    while True:
        movable = [
            (edges[end] - edges[first], index)
            for index, (label, first, end) in enumerate(runs)
            if label != silence and edges[end] - edges[first] < shortest - 1e-9 and _neighbours(runs, index, silence)
        ]
        if not movable:
            return runs
        _, index = min(movable)
        _, first, end = runs[index]
        share = totals[end] - totals[first]
        into = max(_neighbours(runs, index, silence), key=lambda neighbour: share[runs[neighbour][0]])
        runs[index] = (runs[into][0], first, end)
        runs = _join_equal(runs)


def _neighbours(runs: list[_Run], index: int, silence: int) -> list[int]:
    return [near for near in (index - 1, index + 1) if 0 <= near < len(runs) and runs[near][0] != silence]


def _join_equal(runs: list[_Run]) -> list[_Run]:
    joined = runs[:1]
    for label, first, end in runs[1:]:
        if joined[-1][0] == label:
            joined[-1] = (label, joined[-1][1], end)
        else:
            joined.append((label, first, end))
    return joined
