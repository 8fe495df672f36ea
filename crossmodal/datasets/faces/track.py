"""Face tracking: from noisy detections in single video frames to one smooth box that follows one face."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from crossmodal.errors import ConfigError

Floats = NDArray[np.float64]

# A detection spans the face from the brows to the chin. This factor extends it from the hair line to below the chin,
# like the fixed box for RAVDESS.
MARGIN = 1.45
# Standard deviations of the Gaussian smoothing in seconds: position changes faster than size. The box follows a nod of
# two seconds to 0.9 of its height.
SMOOTH_PLACE, SMOOTH_SIZE = 0.15, 1.0

_SAME_FACE = 0.3  # least intersection over union of one face in two video frames
_LOST = 1.0  # seconds after which a face that reappears starts another track
_LEAST = 0.25  # share of the video frames in which the face must be found


def track_face(instants: Floats, detections: Sequence[Floats], width: int, height: int) -> Floats | None:
    """Follow the face with the largest sum of widths, and smooth its box over time.

    The M increasing `instants` are in seconds. For each, `detections` has (K, 4) faces: left, top, right, bottom, in
    pixels. The result has (M, 4) square boxes in pixels, inside the picture. They are interpolated where the face was
    not found, and single outliers are removed. It is None if no face is found in a quarter of the instants.
    """
    if len(instants) != len(detections):
        raise ConfigError(f"{len(detections)} lists of detections for {len(instants)} instants")
    often = [track for track in _link(instants, detections) if len(track) >= _LEAST * len(instants)]
    if not often:
        return None
    track = max(often, key=lambda track: float(sum(box[2] - box[0] for box in track.values())))
    found = np.array(sorted(track))
    boxes = np.array([track[index] for index in found])
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    steady = median_filter(np.hstack([center, side]), size=(3, 1), mode="nearest")  # removes single outliers
    everywhere = np.stack([np.interp(instants, instants[found], column) for column in steady.T], axis=1)
    center, side = _smooth(instants, everywhere[:, :2], SMOOTH_PLACE), _smooth(instants, everywhere[:, 2:], SMOOTH_SIZE)
    return _inside(center, side * MARGIN, width, height)


def _link(instants: Floats, detections: Sequence[Floats]) -> list[dict[int, Floats]]:
    """Link the detections of each face over time; returns for each face its box by the index of the instant."""
    tracks: list[dict[int, Floats]] = []
    for index, boxes in enumerate(detections):
        open_tracks = [track for track in tracks if instants[index] - instants[max(track)] <= _LOST]
        free = set(range(len(boxes)))
        pairs = [(_overlap(track[max(track)], boxes[row]), row, track) for track in open_tracks for row in free]
        for overlap, row, track in sorted(pairs, key=lambda pair: -pair[0]):
            if overlap >= _SAME_FACE and row in free and index not in track:
                track[index] = boxes[row]
                free.remove(row)
        tracks += [{index: boxes[row]} for row in sorted(free)]
    return tracks


def _overlap(one: Floats, other: Floats) -> float:
    shared = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = float(np.prod(np.maximum(shared, 0)))
    return both / (float(np.prod(one[2:] - one[:2])) + float(np.prod(other[2:] - other[:2])) - both)


def _smooth(instants: Floats, values: Floats, deviation: float) -> Floats:
    """Smooth by local linear regression over time, which has no lag for linear motion."""
    apart = instants[None, :] - instants[:, None]  # (M, M)
    spacing = float(np.median(np.diff(instants))) if len(instants) > 1 else 0.0
    weight = np.exp(-0.5 * (apart / max(deviation, spacing)) ** 2)
    total, first, second = weight.sum(1), (weight * apart).sum(1), (weight * apart**2).sum(1)
    spread = total * second - first**2
    line = (weight * (second[:, None] - first[:, None] * apart)) / np.where(spread > 1e-9, spread, 1)[:, None]
    smoothed: Floats = np.where(spread[:, None] > 1e-9, line, weight / total[:, None]) @ values
    return smoothed


def _inside(center: Floats, side: Floats, width: int, height: int) -> Floats:
    """Return squares around centers, moved and, if necessary, shrunk to fit into the picture."""
    side = np.minimum(side, min(width, height))
    corner = np.clip(center - side / 2, 0, np.array([width, height]) - side)
    return np.hstack([corner, corner + side])
