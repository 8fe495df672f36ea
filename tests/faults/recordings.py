"""Small undamaged recordings in the formats of RAVDESS and in other formats."""

from pathlib import Path

import numpy as np
import soundfile

from tests.media.recordings import write_video

RATE, SECONDS = 48_000, 0.4
_SOUNDS = {
    "16_bit.wav": {"subtype": "PCM_16"},
    "24_bit.wav": {"subtype": "PCM_24"},
    "float.wav": {"subtype": "FLOAT"},
    "adpcm.wav": {"subtype": "IMA_ADPCM"},
    "vorbis.ogg": {"subtype": "VORBIS"},
    "sound.mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
    **{f"sound.{suffix}": {} for suffix in ("flac", "aiff", "au", "caf", "w64")},
}
# Video and audio codec of each file.
_VIDEOS = {
    "h264.mkv": ("libx264", "aac"),
    "vp8.webm": ("libvpx", "libopus"),
    "mpeg4.avi": ("mpeg4", "mp3"),
    "h264.mov": ("libx264", "aac"),
    "h264.flv": ("libx264", "aac"),
    "mpeg2.ts": ("mpeg2video", "mp2"),
    "pictures.gif": ("gif", None),
}


def write_good_recordings(folder: Path) -> None:
    folder.mkdir(parents=True)
    time = np.arange(round(SECONDS * RATE)) / RATE
    rng = np.random.default_rng(0)
    sound = (0.3 * np.sin(2 * np.pi * 220 * time) + 0.02 * rng.standard_normal(len(time))).astype(np.float32)
    for name, how in _SOUNDS.items():
        soundfile.write(folder / name, sound, RATE, **how)
    soundfile.write(folder / "stereo.wav", np.stack([sound, 0.5 * sound], 1), RATE, subtype="PCM_16")
    pictures = rng.integers(0, 255, (12, 9, 16, 3), np.uint8).repeat(10, 1).repeat(10, 2)
    write_video(folder / "h264.mp4", pictures, sound=sound)
    write_video(folder / "faststart.mp4", pictures, sound=sound, delay=1600, faststart=True)
    write_video(folder / "without_sound.mp4", pictures)
    for name, (codec, sound_codec) in _VIDEOS.items():
        its_sound = sound if sound_codec else None
        write_video(folder / name, pictures, sound=its_sound, codec=codec, sound_codec=sound_codec)
