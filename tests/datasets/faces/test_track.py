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
    """Return the positions of a face that moves from left to right and nods."""
    return np.stack([200 + 60 * seconds, 180 + 15 * np.sin(2 * np.pi * seconds / 4)], axis=1)


def track(detections: list[np.ndarray], instants: np.ndarray = INSTANTS) -> np.ndarray | None:
    return track_face(instants, detections, WIDTH, HEIGHT)


def centers_of(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def jitter(centers: np.ndarray) -> float:
    """Return the roughness of a path: the mean size of its second differences."""
    return float(np.abs(np.diff(centers, 2, axis=0)).mean())


@pytest.mark.parametrize("seed", range(5))
def test_moving_face_is_tracked_without_jitter(seed):
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


@pytest.mark.parametrize("speed", [0, 80])
def test_linear_motion_is_tracked_without_lag(speed):
    truth = np.stack([150 + speed * INSTANTS, np.full(len(INSTANTS), 180.0)], axis=1)
    boxes = track([box[None] for box in around(truth, 80)])
    np.testing.assert_allclose(centers_of(boxes)[1:-1], truth[1:-1], atol=1)
    if not speed:
        np.testing.assert_allclose(boxes, around(truth, 80 * MARGIN))


def test_missing_detections_are_interpolated_and_single_outliers_removed():
    truth = walk(INSTANTS)
    good = [box[None] for box in around(truth, 90)]
    gaps = [np.zeros((0, 4)) if index in (3, 4, 9, 15) else boxes for index, boxes in enumerate(good)]
    assert np.abs(centers_of(track(gaps)) - truth).max() < 8
    bad = [*good]
    bad[5] = around(truth[5:6] + np.array([25, -20]), 90)  # a jump
    bad[10] = around(truth[10:11], 160)  # suddenly a large face
    bad[14] = np.vstack([good[14], [[10.0, 10, 40, 40]]])  # something in the background
    np.testing.assert_allclose(track(bad), track(good), atol=6)


def test_largest_face_is_tracked():
    near, far = walk(INSTANTS), np.tile([560.0, 80.0], (len(INSTANTS), 1))
    boxes = [np.vstack(pair) for pair in zip(around(far, 50)[:, None], around(near, 110)[:, None], strict=True)]
    assert np.abs(centers_of(track(boxes)) - near).max() < 8
    boxes[7] = around(far[7:8], 50)  # not detected once: the other face must not replace it
    assert np.abs(centers_of(track(boxes)) - near).max() < 8


def test_each_detection_is_part_of_one_track():
    two = np.array([[100.0, 100, 200, 200], [110.0, 100, 210, 200]])  # the overlap is as large as for the same face
    tracks = _link(INSTANTS, [two] * len(INSTANTS))
    assert [len(one) for one in tracks] == [len(INSTANTS)] * 2
    assert [one[7].tolist() for one in tracks] == two.tolist()


def test_rarely_detected_face_is_ignored():
    nothing = np.zeros((0, 4))
    assert track([nothing] * len(INSTANTS)) is None
    rare = [around(walk(INSTANTS[:1]), 90), *[nothing] * (len(INSTANTS) - 1)]
    assert track(rare) is None
    assert track(rare[:1], INSTANTS[:1]) is not None
    with pytest.raises(ConfigError, match=r"1 .* 32"):
        track(rare[:1])
    large = [around(np.array([[320.0, 180]]), 60)] * 7 + [np.array([[0.0, 0, 300, 300]])]
    np.testing.assert_allclose(centers_of(track(large, INSTANTS[:8])), np.tile([320.0, 180], (8, 1)), atol=1e-6)


@given(
    st.lists(
        st.lists(st.tuples(st.floats(-100, 700), st.floats(-100, 400), st.floats(1, 500)), max_size=3),
        min_size=1,
        max_size=12,
    )
)
def test_boxes_are_squares_inside_the_picture(found):
    detections = [np.array([(x, y, x + side, y + side) for x, y, side in faces]).reshape(-1, 4) for faces in found]
    boxes = track(detections, 0.2 * np.arange(len(found)))
    if boxes is None:  # no face was detected often enough
        assert len(found) > 4 or not any(len(faces) for faces in detections)
        return
    assert boxes.shape == (len(found), 4)
    assert boxes.min() >= 0
    assert (boxes[:, 2] <= WIDTH + 1e-6).all()
    assert (boxes[:, 3] <= HEIGHT + 1e-6).all()
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1], atol=1e-6)
