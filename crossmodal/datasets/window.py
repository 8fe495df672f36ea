"""Sound and video times of a clip, which may be a segment of its files."""

from pathlib import Path

import numpy as np

from crossmodal import media
from crossmodal.datasets.clip import Clip
from crossmodal.errors import MediaError

# Seconds by which a file may end before its clip. Times in tables are rounded, audio comes in packets, and the last
# video frame may be shown until the sound ends.
_SOUND_TOLERANCE, _VIDEO_TOLERANCE = 0.1, 0.5
_LONGEST = 1800.0  # s, limit for clips without a duration: a small file may hold days of silence


def read_clip_waveform(clip: Clip, path: Path) -> np.ndarray:
    """Read the sound of a clip: (T,) float32 at 16 kHz.

    Decoding stops at the end of the clip, and samples before its start are discarded, so that only the clip is in
    memory.

    Raises:
        MediaError: If the file cannot be decoded or ends before the clip, or a clip without a duration is longer than
            half an hour.
    """
    if clip.duration is None:
        return media.read_waveform(path, start=clip.audio_start, longest=_LONGEST)
    with media.open_sound(path) as sound:
        name, rate = sound.name, sound.sample_rate
        first, last = round(clip.audio_start * rate), round((clip.audio_start + clip.duration) * rate)
        blocks, samples = [np.zeros(0, np.float32)], 0
        for block in sound.blocks():
            blocks.append(block[max(first - samples, 0) : max(last - samples, 0)])
            samples += len(block)
            if samples >= last:
                break
    if samples < max(last - _SOUND_TOLERANCE * rate, first + rate / media.SAMPLE_RATE):
        raise MediaError(name, f"its sound ends at {samples / rate:.2f} s, before the clip ends at {last / rate:.2f} s")
    return media.resample(np.concatenate(blocks), rate, media.SAMPLE_RATE)


def clip_instants(clip: Clip, path: Path, pieces: int) -> list[float]:
    """Return the middles of equal segments of a clip, in seconds of its video.

    Raises:
        MediaError: If the file is not a video, or ends before the clip.
    """
    ends = media.probe_video(path).duration
    duration = ends - clip.video_start if clip.duration is None else clip.duration
    last = clip.video_start + duration
    if duration <= 0 or ends < max(last - _VIDEO_TOLERANCE, clip.video_start):
        when = f"starts at {clip.video_start:.2f}" if clip.duration is None else f"ends at {last:.2f}"
        raise MediaError(path, f"its video ends at {ends:.2f} s, before the clip {when} s")
    middles = (np.arange(pieces) + 0.5) / pieces
    return (clip.video_start + duration * middles).tolist()
