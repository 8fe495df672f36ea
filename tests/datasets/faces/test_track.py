import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.datasets.faces.track import MARGIN, _link, track_face
from crossmodal.errors import ConfigError

WIDTH, HEIGHT = 640, 360
INSTANTS = np.arange(0, 4, 0.125)


def around(centers: np.ndarray, sides: np.ndarray | float) -> np.ndarray:
    half = np.broadcast_to(np.asarray(sides, float), len(centers))[:, None] / 2
    return np.hstack([centers - half, centers + half])


def walk(seconds: np.ndarray) -> np.ndarray:
    """Where a face is that goes from left to right and nods."""
    return np.stack([200 + 60 * seconds, 180 + 15 * np.sin(2 * np.pi * seconds / 4)], axis=1)


def track(detections: list[np.ndarray], instants: np.ndarray = INSTANTS) -> np.ndarray | None:
    return track_face(instants, detections, WIDTH, HEIGHT)


def centers_of(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def jitter(centers: np.ndarray) -> float:
    """How far a path is from a smooth one: the size of its second differences."""
    return float(np.abs(np.diff(centers, 2, axis=0)).mean())


def test_a_face_that_stands_still_has_a_box_that_stands_still():
    boxes = track([np.array([[270.0, 130, 370, 230]])] * len(INSTANTS))
    np.testing.assert_allclose(boxes, np.tile(around(np.array([[320.0, 180]]), 100 * MARGIN), (len(INSTANTS), 1)))


@pytest.mark.parametrize("seed", range(5))
def test_a_moving_face_is_followed_without_the_jitter_of_the_detector(seed):
    rng = np.random.default_rng(seed)
    truth = walk(INSTANTS)
    noisy = truth + rng.normal(0, 5, truth.shape)
    sides = 100 + rng.normal(0, 8, len(INSTANTS))
    boxes = track([box[None] for box in around(noisy, sides)])
    centers = centers_of(boxes)
    assert jitter(centers) < jitter(noisy) / 5
    assert np.abs(centers - truth).mean() < np.abs(noisy - truth).mean()
    assert np.abs(centers - truth).max() < 12  # of a face of 100 pixels
    size = boxes[:, 2] - boxes[:, 0]
    assert np.ptp(size) < 0.1 * size.mean()


def test_a_steady_motion_is_followed_without_delay():
    truth = np.stack([150 + 80 * INSTANTS, np.full(len(INSTANTS), 180.0)], axis=1)
    boxes = track([box[None] for box in around(truth, 80)])
    np.testing.assert_allclose(centers_of(boxes)[1:-1], truth[1:-1], atol=1)


def test_where_the_face_was_not_found_it_is_between_where_it_was():
    truth = walk(INSTANTS)
    detections = [box[None] for box in around(truth, 90)]
    for index in (3, 4, 9, 15):
        detections[index] = np.zeros((0, 4))
    assert np.abs(centers_of(track(detections)) - truth).max() < 8


def test_single_wrong_detections_move_nothing():
    truth = walk(INSTANTS)
    good = [box[None] for box in around(truth, 90)]
    bad = [*good]
    bad[5] = around(truth[5:6] + np.array([25, -20]), 90)  # a leap
    bad[10] = around(truth[10:11], 160)  # a face that suddenly is large
    bad[14] = np.vstack([good[14], [[10.0, 10, 40, 40]]])  # something in the background
    np.testing.assert_allclose(track(bad), track(good), atol=6)


def test_of_two_faces_the_one_that_is_larger_for_longer_is_followed():
    near, far = walk(INSTANTS), np.tile([560.0, 80.0], (len(INSTANTS), 1))
    boxes = [np.vstack(pair) for pair in zip(around(far, 50)[:, None], around(near, 110)[:, None], strict=True)]
    assert np.abs(centers_of(track(boxes)) - near).max() < 8
    boxes[7] = around(far[7:8], 50)  # lost for once: the other one is not taken for it
    assert np.abs(centers_of(track(boxes)) - near).max() < 8


def test_each_detection_is_part_of_one_track():
    two = np.array([[100.0, 100, 200, 200], [110.0, 100, 210, 200]])  # as near as the same face is
    tracks = _link(INSTANTS, [two] * len(INSTANTS))
    assert [len(one) for one in tracks] == [len(INSTANTS)] * 2
    assert [one[7].tolist() for one in tracks] == two.tolist()


def test_a_face_that_is_seldom_found_is_none():
    nothing = np.zeros((0, 4))
    assert track([nothing] * len(INSTANTS)) is None
    seldom = [around(walk(INSTANTS[:1]), 90), *[nothing] * (len(INSTANTS) - 1)]
    assert track(seldom) is None
    assert track(seldom[:1], INSTANTS[:1]) is not None


def test_something_large_for_an_instant_does_not_hide_the_face():
    detections = [around(np.array([[320.0, 180]]), 60)] * 7 + [np.array([[0.0, 0, 300, 300]])]
    boxes = track(detections, INSTANTS[:8])
    np.testing.assert_allclose(centers_of(boxes), np.tile([320.0, 180], (8, 1)), atol=1e-6)


@given(
    st.lists(
        st.lists(st.tuples(st.floats(-100, 700), st.floats(-100, 400), st.floats(1, 500)), max_size=3),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_is_detected_boxes_are_squares_inside_the_picture(found):
    detections = [np.array([(x, y, x + side, y + side) for x, y, side in faces]).reshape(-1, 4) for faces in found]
    boxes = track(detections, 0.2 * np.arange(len(found)))
    if boxes is None:  # whatever was detected, it was not one face often enough
        assert len(found) > 4 or not any(len(faces) for faces in detections)
        return
    assert boxes.shape == (len(found), 4)
    assert boxes.min() >= 0
    assert (boxes[:, 2] <= WIDTH + 1e-6).all()
    assert (boxes[:, 3] <= HEIGHT + 1e-6).all()
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1], atol=1e-6)


def test_one_list_for_each_instant():
    with pytest.raises(ConfigError, match="1 lists of detections for 32 instants"):
        track([np.zeros((0, 4))])
