"""Sounds and videos whose content identifies the samples and video frames that were read."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

FRAME_RATE = Fraction(30000, 1001)
NUM_VIDEO_FRAMES = 40


def sine(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate)).astype("f4")


def write_video(
    path: Path,
    pictures,
    *,
    sound=None,
    delay=0,
    start=0,
    channels=1,
    codec="libx264",
    sound_codec="aac",
    faststart=False,
    muxer=None,
    options=None,
) -> Path:
    """Write pictures at 30000/1001 Hz, and 48 kHz sound that is `delay` samples late; both are `start` frames late."""
    delay += round(start * 48_000 / FRAME_RATE)
    with av.open(str(path), "w", options={"movflags": "faststart"} if faststart else muxer or {}) as container:
        if len(pictures):
            video = container.add_stream(codec, rate=FRAME_RATE, options=options or {"crf": "10", "g": "12", "bf": "2"})
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt, video.bit_rate = "rgb8" if codec == "gif" else "yuv420p", 4_000_000
        if sound is not None:
            layout = {1: "mono", 2: "stereo"}[channels]
            audio = container.add_stream(sound_codec, rate=48_000, layout=layout)
            audio.bit_rate = 192_000
        for index, picture in enumerate(pictures):
            video_frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            video_frame.pts = start + index
            container.mux(video.encode(video_frame))
        if len(pictures):
            container.mux(video.encode(None))
        if sound is not None:
            for first in range(0, sound.shape[-1], 1024):
                part = np.ascontiguousarray(np.atleast_2d(sound)[:, first : first + 1024])
                audio_frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                audio_frame.sample_rate, audio_frame.pts = 48_000, first + delay
                container.mux(audio.encode(audio_frame))
            container.mux(audio.encode(None))
    return path


def numbered_pictures(count: int = NUM_VIDEO_FRAMES) -> np.ndarray:
    """Return uniform grey pictures, 5 levels apart, so that a video frame encodes its index."""
    return np.broadcast_to(5 * np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 48, 64, 3))


def indices_of(video_frames: np.ndarray) -> list[int]:
    return np.rint(video_frames.mean(axis=(1, 2, 3)) / 5).astype(int).tolist()


def write_wav(path: Path, samples: np.ndarray, sample_rate: int = 16_000, **kwargs) -> Path:
    soundfile.write(path, samples, sample_rate, **kwargs)
    return path
