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

# The rate of face detection, and the least and the most video frames of a clip in which to detect.
_LOOKS_PER_SECOND, _LEAST_LOOKS, _MOST_LOOKS = 8.0, 5, 100
_AT_ONCE = 8  # whole video frames in memory: 22 MB at 1280x720


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
    clip = _as_long_as_its_sound(clip)
    seconds = clip_instants(clip, path, crops.num_video_frames)
    if crops.detector is not None:
        lasts = 2 * len(seconds) * (seconds[0] - clip.video_start)
        looks = clip_instants(clip, path, int(np.clip(lasts * _LOOKS_PER_SECOND, _LEAST_LOOKS, _MOST_LOOKS)))
        return _follow(path, np.asarray(seconds), np.asarray(looks), crops)
    # PyAV decodes only what is needed and reports damage; decord hides it.
    return media.read_video_frames(path, seconds, box=crops.box, size=crops.face_size, decoder="pyav")


def _as_long_as_its_sound(clip: Clip) -> Clip:
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
    path: Path, seconds: NDArray[np.float64], looks: NDArray[np.float64], crops: FaceCrops
) -> NDArray[np.uint8]:
    """Detect the face at `looks`, track it, and return its crops at `seconds`."""
    assert crops.detector, "without a detector there is nothing to follow"
    detect = load_detector(crops.detector)
    found, shape = [], (0, 0)
    for picture in _pictures(path, looks):
        found.append(detect(picture))
        shape = picture.shape[1:]
    boxes = track_face(looks, found, width=shape[1], height=shape[0])
    if boxes is None:
        seen = sum(len(faces) > 0 for faces in found)
        raise MediaError(path, f"no face can be followed: one was found in {seen} of {len(found)} video frames")
    wanted = np.stack([np.interp(seconds, looks, side) for side in boxes.T], axis=1)
    cut = [_cut(picture, box, crops.face_size) for picture, box in zip(_pictures(path, seconds), wanted, strict=True)]
    return np.stack(cut)


def _pictures(path: Path, seconds: NDArray[np.float64]) -> Iterator[NDArray[np.uint8]]:
    """Yield whole video frames, (3, H, W), a few at a time in memory."""
    for first, last in pairwise([*range(0, len(seconds), _AT_ONCE), len(seconds)]):
        yield from media.read_video_frames(path, seconds[first:last], decoder="pyav")


def _cut(picture: NDArray[np.uint8], box: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Return the box of a picture as (3, size, size), resized with antialiasing."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    area = (box[0], box[1], box[2], box[3])
    scaled = image.resize((size, size), Image.Resampling.BILINEAR, box=area, reducing_gap=2.0)
    return np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1))
