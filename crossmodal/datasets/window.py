"""Sound and pictures of a clip, also where it is a piece of its files."""

from pathlib import Path

import numpy as np

from crossmodal import media
from crossmodal.datasets.clip import Clip
from crossmodal.errors import MediaError

# Seconds by which a file may end before its clip does. Times in a table are rounded, and sound comes in packets; the
# last picture may stand while the sound ends.
_SOUND_TOLERANCE, _VIDEO_TOLERANCE = 0.1, 0.5
_LONGEST = 1800.0  # s, of a sound that is a clip as a whole: a small file may hold days of silence


def read_clip_waveform(clip: Clip, path: Path) -> np.ndarray:
    """Read the sound of a clip out of its file: (T,) float32 at 16 kHz.

    A file is read no further than the clip's end, and what stands before it is decoded but not kept: memory is the
    clip's.

    Raises:
        MediaError: The file cannot be decoded, or ends before the clip does; or all of it is meant, and that is more
            than half an hour.
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
        raise MediaError(name, f"its sound ends at {samples / rate:.2f} s, and the clip at {last / rate:.2f} s")
    return media.resample(np.concatenate(blocks), rate, media.SAMPLE_RATE)


def clip_instants(clip: Clip, path: Path, pieces: int) -> list[float]:
    """The middles of equal pieces of a clip, in seconds of its video.

    Raises:
        MediaError: The file is no video, or ends before the clip does.
    """
    ends = media.probe_video(path).duration
    duration = ends - clip.video_start if clip.duration is None else clip.duration
    last = clip.video_start + duration
    if duration <= 0 or ends < max(last - _VIDEO_TOLERANCE, clip.video_start):
        where = f"begins at {clip.video_start:.2f}" if clip.duration is None else f"ends at {last:.2f}"
        raise MediaError(path, f"its pictures end at {ends:.2f} s, and the clip {where} s")
    middles = (np.arange(pieces) + 0.5) / pieces
    return (clip.video_start + duration * middles).tolist()
