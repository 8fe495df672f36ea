"""Reading of audio and video frames from files. soundfile, PyAV and decord are imported lazily.

All times are seconds after the first picture or sample of a file, whichever is earlier. Untrusted files cannot fill the
memory, but may take long to decode, because a small file may hold days of silence: servers must count the blocks.
"""

from crossmodal.media.sound import SAMPLE_RATE as SAMPLE_RATE
from crossmodal.media.sound import SAMPLE_RATES as SAMPLE_RATES
from crossmodal.media.sound import Sound as Sound
from crossmodal.media.sound import check_duration as check_duration
from crossmodal.media.sound import check_level as check_level
from crossmodal.media.sound import is_rate as is_rate
from crossmodal.media.sound import open_sound as open_sound
from crossmodal.media.sound import read_waveform as read_waveform
from crossmodal.media.sound import resample as resample
from crossmodal.media.sound import resample_blocks as resample_blocks
from crossmodal.media.sound import resampler as resampler
from crossmodal.media.source import Source as Source
from crossmodal.media.source import name_of as name_of
from crossmodal.media.video import Box as Box
from crossmodal.media.video import VideoDecoder as VideoDecoder
from crossmodal.media.video import VideoInfo as VideoInfo
from crossmodal.media.video import crop_picture as crop_picture
from crossmodal.media.video import iterate_video_frames as iterate_video_frames
from crossmodal.media.video import probe_video as probe_video
from crossmodal.media.video import read_video_frames as read_video_frames
