"""Face crops of a clip, from a fixed box or from a box that follows a detected face."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.faces.detector import HAAR, load_detector
from crossmodal.datasets.faces.track import track_face
from crossmodal.errors import MediaError

# Rate of face detection, and limits for the number of detections per clip.
_DETECTIONS_PER_SECOND, _MIN_DETECTIONS, _MAX_DETECTIONS = 8.0, 5, 100
_TOLERANCE = 0.5  # s by which a video may end before its clip: the last picture may be shown until the sound ends


@dataclass(frozen=True)
class FaceCrops:
    """Settings of the face crops of a video, described at `crossmodal.datamodules.settings.FaceSettings`.

    The box is not used with a detector.
    """

    num_video_frames: int
    face_size: int
    box: media.Box
    detector: str | None = None
    decoder: media.VideoDecoder = "pyav"

    def settings(self, content_of: Callable[[Path], str]) -> dict[str, Any]:
        """Return all settings that determine the crops, for JSON, with the SHA-256 in place of a detector file."""
        settings = asdict(self)
        del settings["detector" if self.detector is None else "box"]
        if self.decoder == "pyav":
            del settings["decoder"]
        if self.detector not in (None, HAAR):
            settings["detector"] = content_of(Path(self.detector))
        return settings


def read_face_crops(clip: Clip, path: Path, crops: FaceCrops) -> NDArray[np.uint8]:
    """Read crops, (N, 3, H, W), at the middles of N equal segments of the clip.

    A clip with sound and without a given duration lasts as long as its sound, so that both cover the same time.
    MediaError is also raised if the video ends before the clip does, or no face is found in it.
    """
    clip = _with_duration_of_sound(clip)
    seconds = clip_instants(clip, path, crops.num_video_frames)
    if crops.detector is not None:
        return np.stack([*_follow(clip, path, seconds, crops)])
    return media.read_video_frames(path, seconds, box=crops.box, size=crops.face_size, decoder=crops.decoder)


def clip_instants(clip: Clip, path: Path, pieces: int) -> list[float]:
    """Return the middles of equal segments of a clip, in seconds of its video, which must not end before the clip."""
    ends = media.probe_video(path).duration
    duration = ends - clip.video_start if clip.duration is None else clip.duration
    last = clip.video_start + duration
    if duration <= 0 or ends < max(last - _TOLERANCE, clip.video_start):
        when = f"starts at {clip.video_start:.2f}" if clip.duration is None else f"ends at {last:.2f}"
        raise MediaError(path, f"its video ends at {ends:.2f} s, before the clip {when} s")
    middles = (np.arange(pieces) + 0.5) / pieces
    return (clip.video_start + duration * middles).tolist()


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


def _follow(clip: Clip, path: Path, seconds: list[float], crops: FaceCrops) -> Iterator[NDArray[np.uint8]]:
    """Detect and track the face over the whole clip, and yield its crops at `seconds`."""
    assert crops.detector, "without a detector there is nothing to follow"
    duration = 2 * len(seconds) * (seconds[0] - clip.video_start)
    count = int(np.clip(duration * _DETECTIONS_PER_SECOND, _MIN_DETECTIONS, _MAX_DETECTIONS))
    instants = np.asarray(clip_instants(clip, path, count))
    detect, found, (width, height) = load_detector(crops.detector), [], (0, 0)
    for picture in media.iterate_video_frames(path, instants, crops.decoder):
        found.append(detect(np.asarray(picture)))
        width, height = picture.size
    boxes = track_face(instants, found, width, height)
    if boxes is None:
        detected = sum(len(faces) > 0 for faces in found)
        raise MediaError(path, f"no face can be tracked: one was detected in {detected} of {len(found)} video frames")
    boxes = np.stack([np.interp(seconds, instants, side) for side in boxes.T], axis=1) / ([width, height] * 2)
    for picture, box in zip(media.iterate_video_frames(path, seconds, crops.decoder), boxes, strict=True):
        yield media.crop_picture(picture, box, crops.face_size)
