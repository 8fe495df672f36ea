"""Reading of audio and video frames from files. soundfile, PyAV and decord are imported lazily.

All times are seconds after the first picture or sample of a file, whichever is earlier. Untrusted files cannot fill the
memory, but may take long to decode, because a small file may hold days of silence: servers must count the blocks.
"""

from crossmodal.media.sound import (
    SAMPLE_RATE,
    SAMPLE_RATES,
    Sound,
    check_duration,
    check_level,
    is_rate,
    open_sound,
    read_waveform,
    resample,
    resample_blocks,
    resampler,
)
from crossmodal.media.source import Source, name_of
from crossmodal.media.video import (
    Box,
    VideoDecoder,
    VideoInfo,
    crop_picture,
    iterate_video_frames,
    probe_video,
    read_video_frames,
)

__all__ = (
    "SAMPLE_RATE",
    "SAMPLE_RATES",
    "Box",
    "Sound",
    "Source",
    "VideoDecoder",
    "VideoInfo",
    "check_duration",
    "check_level",
    "crop_picture",
    "is_rate",
    "iterate_video_frames",
    "name_of",
    "open_sound",
    "probe_video",
    "read_video_frames",
    "read_waveform",
    "resample",
    "resample_blocks",
    "resampler",
)
