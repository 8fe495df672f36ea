"""Reading of audio and video frames from files.

soundfile reads audio files. PyAV reads the audio of videos and of formats that soundfile does not support. PyAV, or
decord by choice, reads video frames. Each library is imported lazily. All times are seconds on the container's clock as
FFmpeg reads it: the first frame of most videos is at 0.

Untrusted files have limits. Audio is read in blocks, so that memory does not depend on the header. Sample rates outside
1 to 768 kHz and more than 64 channels are rejected. FFmpeg opens only self-contained formats, so that a playlist cannot
make it read other files or connect to servers. The decoding time has no limit, because a small file may hold days of
silence: servers must count the blocks.
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
