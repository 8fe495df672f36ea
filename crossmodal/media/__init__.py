"""Sound and video frames out of files.

soundfile reads sound files, PyAV the sound of a video and what soundfile cannot, decord or PyAV the pictures of a
video; each is imported when it is used. All times are seconds of the container's clock as FFmpeg reads it: the first
picture of most videos is at 0.

What a foreign file can do is bounded. Sound is read in blocks, so memory does not depend on what a header promises;
rates from 1 to 768 kHz and up to 64 channels are read, others refused; FFmpeg opens only formats that hold their data
themselves, so that no playlist makes it read another file or ask a server. Time is not bounded here: a small file may
hold days of silence. Who reads for strangers counts the blocks.
"""

from crossmodal.media.sound import (
    SAMPLE_RATE,
    SAMPLE_RATES,
    Sound,
    check_level,
    is_rate,
    open_sound,
    read_waveform,
    resample,
    too_long,
)
from crossmodal.media.source import Source, name_of
from crossmodal.media.video import Box, VideoInfo, probe_video, read_video_frames

__all__ = (
    "SAMPLE_RATE",
    "SAMPLE_RATES",
    "Box",
    "Sound",
    "Source",
    "VideoInfo",
    "check_level",
    "is_rate",
    "name_of",
    "open_sound",
    "probe_video",
    "read_video_frames",
    "read_waveform",
    "resample",
    "too_long",
)
