"""Face crops of a clip, from a fixed box or from a box that follows a detected face."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.faces.detector import HAAR, load_detector
from crossmodal.datasets.faces.track import track_face
from crossmodal.datasets.window import clip_instants
from crossmodal.errors import MediaError

# Rate of face detection, and limits for the number of detections per clip.
_DETECTIONS_PER_SECOND, _MIN_DETECTIONS, _MAX_DETECTIONS = 8.0, 5, 100
_FRAMES_IN_MEMORY = 8  # whole video frames: 22 MB at 1280x720


@dataclass(frozen=True)
class FaceCrops:
    """Settings of the face crops of a video.

    Args:
        num_video_frames: Number of video frames per clip, evenly spaced.
        face_size: Height and width of a crop, in pixels.
        box: Left, top, right and bottom of the face, as fractions of the picture's width and height. Unused with a
            detector.
        detector: ``haar`` or the path of a YuNet ONNX file, see `crossmodal.datasets.faces.detector`; None uses `box`.
    """

    num_video_frames: int
    face_size: int
    box: media.Box
    detector: str | None = None

    def settings(self, content_of: Callable[[Path], str]) -> dict[str, Any]:
        """Return all settings that determine the crops, for JSON; a detector file is represented by its hash.

        Args:
            content_of: Returns the SHA-256 of a file.
        """
        settings = asdict(self)
        if self.detector is None:
            del settings["detector"]
            return settings
        del settings["box"]
        return {**settings, "detector": HAAR if self.detector == HAAR else content_of(Path(self.detector))}


def read_face_crops(clip: Clip, path: Path, crops: FaceCrops) -> NDArray[np.uint8]:
    """Read crops, (N, 3, H, W), at the middles of N equal segments of the clip.

    A clip with sound and without a given duration lasts as long as its sound, so that both cover the same time.

    Raises:
        MediaError: The video cannot be decoded, ends before the clip does, or no face is found in it.
    """
    clip = _with_duration_of_sound(clip)
    seconds = clip_instants(clip, path, crops.num_video_frames)
    if crops.detector is not None:
        duration = 2 * len(seconds) * (seconds[0] - clip.video_start)
        count = int(np.clip(duration * _DETECTIONS_PER_SECOND, _MIN_DETECTIONS, _MAX_DETECTIONS))
        return _follow(path, np.asarray(seconds), np.asarray(clip_instants(clip, path, count)), crops)
    # PyAV decodes only the required video frames and reports damage, which decord conceals.
    return media.read_video_frames(path, seconds, box=crops.box, size=crops.face_size, decoder="pyav")


def _with_duration_of_sound(clip: Clip) -> Clip:
    if clip.audio is None or clip.duration is not None:
        return clip
    try:
        with media.open_sound(clip.audio) as sound:
            samples = sum(map(len, sound.blocks()))
            duration = samples / sound.sample_rate - clip.audio_start
    except MediaError:
        return clip  # the face is usable without the sound
    return replace(clip, duration=duration) if duration > 0 else clip


def _follow(
    path: Path, seconds: NDArray[np.float64], instants: NDArray[np.float64], crops: FaceCrops
) -> NDArray[np.uint8]:
    """Detect the face at `instants`, track it, and return its crops at `seconds`."""
    assert crops.detector, "without a detector there is nothing to follow"
    detect = load_detector(crops.detector)
    found, shape = [], (0, 0)
    for picture in _pictures(path, instants):
        found.append(detect(picture))
        shape = picture.shape[1:]
    boxes = track_face(instants, found, width=shape[1], height=shape[0])
    if boxes is None:
        detected = sum(len(faces) > 0 for faces in found)
        raise MediaError(path, f"no face can be tracked: one was detected in {detected} of {len(found)} video frames")
    boxes = np.stack([np.interp(seconds, instants, side) for side in boxes.T], axis=1)
    pictures = zip(_pictures(path, seconds), boxes, strict=True)
    return np.stack([_crop(picture, box, crops.face_size) for picture, box in pictures])


def _pictures(path: Path, seconds: NDArray[np.float64]) -> Iterator[NDArray[np.uint8]]:
    """Yield whole video frames, (3, H, W), a few at a time in memory."""
    for first, last in pairwise([*range(0, len(seconds), _FRAMES_IN_MEMORY), len(seconds)]):
        yield from media.read_video_frames(path, seconds[first:last], decoder="pyav")


def _crop(picture: NDArray[np.uint8], box: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Return the box of a picture as (3, size, size), resized with antialiasing."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    area = (box[0], box[1], box[2], box[3])
    scaled = image.resize((size, size), Image.Resampling.BILINEAR, box=area, reducing_gap=2.0)
    return np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1))
