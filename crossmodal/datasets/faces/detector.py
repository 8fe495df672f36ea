"""Face detectors of OpenCV (extra ``face``). They work offline."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ConfigError, MissingExtraError

HAAR = "haar"
"""Name of the cascade for frontal faces whose weights are part of the OpenCV wheel."""

Detect = Callable[[NDArray[np.uint8]], NDArray[np.float64]]  # (H, W, 3) RGB to (K, 4) left, top, right, bottom, pixels

_CASCADE = "haarcascade_frontalface_alt2.xml"  # by Lienhart, under Intel's BSD-style licence
_SHORT_SIDE = 288  # pixels to which a picture is scaled down for detection
_SMALLEST = 1 / 12  # of the picture's short side
_SCORE = 0.6  # of YuNet, 0 to 1


def check_detector(detector: str) -> None:
    """Raise ConfigError if a detector does not exist, or MissingExtraError if OpenCV is not installed."""
    if detector != HAAR and not Path(detector).is_file():
        raise ConfigError(
            f"face_detector {detector}: the file does not exist. Use 'haar', whose weights are part of OpenCV, or the "
            "path of a YuNet ONNX file (face_detection_yunet_2023mar.onnx from OpenCV's model zoo)."
        )
    try:
        import cv2  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("Face detection needs OpenCV: pip install 'crossmodal[face]'.") from error


@lru_cache(maxsize=1)
def load_detector(detector: str) -> Detect:
    """Load ``haar`` or a YuNet ONNX file; raise ConfigError if it cannot be loaded."""
    import cv2

    cv2.setNumThreads(1)  # each child has a core of its own
    return _load_haar(cv2) if detector == HAAR else _load_yunet(cv2, detector)


def _load_haar(cv2: Any) -> Detect:
    path = Path(cv2.data.haarcascades) / _CASCADE
    if not hasattr(cv2, "CascadeClassifier") or not path.is_file():
        raise ConfigError(
            f"face_detector haar: OpenCV {cv2.__version__} no longer has cascades. "
            "Run pip install 'opencv-python-headless<5', or use a YuNet ONNX file."
        )
    cascade = cv2.CascadeClassifier(str(path))

    def detect(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        small, scale = _scaled_down(cv2, picture)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        smallest = round(_SMALLEST * min(grey.shape))
        found = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(smallest, smallest))
        return _corners(found, scale)

    return detect


def _load_yunet(cv2: Any, path: str) -> Detect:
    try:
        network = cv2.FaceDetectorYN.create(path, "", (320, 320), _SCORE)
    except cv2.error as error:
        raise ConfigError(f"face_detector {path}: OpenCV cannot load it as YuNet ({error}).") from error

    def detect(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        small, scale = _scaled_down(cv2, picture)
        network.setInputSize((small.shape[1], small.shape[0]))
        _, found = network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        return _corners(found, scale)

    return detect


def _scaled_down(cv2: Any, picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Return the picture, scaled down for detection, and its scale."""
    scale = min(1.0, _SHORT_SIDE / min(picture.shape[:2]))
    if scale < 1:
        return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale
    return picture, scale


def _corners(found: Any, scale: float) -> NDArray[np.float64]:
    """Convert left, top, width, height to corners, (K, 4), in pixels of the original picture."""
    boxes = np.zeros((0, 4)) if found is None or not len(found) else np.asarray(found, np.float64)[:, :4]
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]) / scale
