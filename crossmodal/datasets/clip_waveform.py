"""The sound of a clip, which may be a segment of a file."""

from pathlib import Path

import numpy as np

from crossmodal import media
from crossmodal.datasets.clip import Clip
from crossmodal.errors import MediaError

_TOLERANCE = 0.1  # s by which a file may end before its clip: tables round times, and audio comes in packets
_LONGEST = 1800.0  # s, limit for clips without a duration: a small file may hold days of silence


def read_clip_waveform(clip: Clip, path: Path) -> np.ndarray:
    """Read the sound of a clip, (T,) float32 at 16 kHz; decoding stops at its end, and only the clip is in memory.

    MediaError is also raised if the file ends before the clip, or a clip without a duration exceeds half an hour.
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
    if samples < max(last - _TOLERANCE * rate, first + rate / media.SAMPLE_RATE):
        raise MediaError(name, f"its sound ends at {samples / rate:.2f} s, before the clip ends at {last / rate:.2f} s")
    return media.resample(np.concatenate(blocks), rate, media.SAMPLE_RATE)
