"""Containers and codecs with traps, compared with FFmpeg's own decode: ``python -m tests.media.table``."""

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np

from crossmodal.errors import MediaError
from crossmodal.media import read_video_frames, read_waveform
from tests.media.recordings import indices_of, numbered_pictures, write_video

RATE = 48_000
SECONDS = 1.3
ONE_FRAME = 1152 / RATE  # s, the longest frame of audio of the codecs here
LATE = 14_400  # samples
_START = 60  # video frames
# Suffix, codecs, and options of the video encoder.
CONTAINERS = {
    name: (name.split()[0], video, sound, options)
    for name, video, sound, options in (
        ("mp4", "libx264", "aac", None),
        (
            "mp4 open groups",
            "libx264",
            "aac",
            {"x264-params": "open-gop=1:keyint=10:bframes=3:scenecut=0", "crf": "10"},
        ),
        ("mp4 MPEG-4", "mpeg4", "libmp3lame", None),
        ("mov", "libx264", "aac", None),
        ("m4a", None, "aac", None),
        ("mkv", "libx264", "flac", None),
        ("mkv H.265", "libx265", "aac", {"x265-params": "log-level=none:keyint=10:crf=10"}),
        ("webm", "libvpx", "libopus", {"g": "12", "crf": "4"}),
        ("ts", "libx264", "aac", None),
        ("ts MPEG-2", "mpeg2video", "mp2", None),
        ("mpg", "mpeg2video", "mp2", None),
        ("avi", "mpeg4", "libmp3lame", None),
        ("avi FFV1", "ffv1", "pcm_s16le", {"g": "1"}),
        ("flv", "libx264", "aac", None),
        ("asf", "wmv2", "wmav2", {"g": "12"}),
        ("asf H.264", "libx264", "aac", None),
        ("nut", "mpeg4", "libmp3lame", None),
        ("ogg", None, "flac", None),
        ("opus", None, "libopus", None),
        ("mp3", None, "libmp3lame", None),
        ("mp2", None, "mp2", None),
        ("aac", None, "aac", None),
        ("ac3", None, "ac3", None),
        ("flac", None, "flac", None),
        ("wav", None, "pcm_s16le", None),
        ("caf", None, "pcm_s16le", None),
        ("aiff", None, "pcm_s16be", None),
    )
}
STARTS = {"from 0": (0, 0), "from 2 s": (_START, 0), "late sound": (_START, LATE), "late picture": (_START, -LATE)}
CUTS = ("end missing", "start missing", "joined")
TRAPS = (*STARTS, *CUTS)


@dataclass(frozen=True)
class Outcome:
    """A file as read by FFmpeg and by crossmodal. A refused file has no results of crossmodal."""

    sound: tuple[float, float]  # s, lengths
    begins: tuple[float, float]  # s after the start, of the sweep
    pictures: tuple[list[int], list[int], list[int]]  # FFmpeg's, and those shown at the same times by both decoders
    warned: bool
    refused: str

    @property
    def agrees(self) -> bool:
        lengths, begins = np.ptp(self.sound) <= ONE_FRAME, np.ptp(self.begins) <= 0.0015  # s, of Matroska and FLV
        return bool(lengths and begins and self.pictures[0] == self.pictures[1] == self.pictures[2])

    def __str__(self) -> str:
        if self.refused:
            return f"refused: {self.refused.partition(';')[0].partition(' (')[0]}"
        text = "exact" if self.agrees else f"{self.sound[1]:.2f} of {self.sound[0]:.2f} s"
        if not self.agrees and self.pictures[0]:
            text += f", {len(self.pictures[1])} of {len(self.pictures[0])} pictures"
        return text + ", warned" * self.warned


@cache
def sweep() -> np.ndarray:
    seconds = np.arange(round(SECONDS * RATE)) / RATE
    return (0.4 * np.sin(2 * np.pi * (200 * seconds + 600 * seconds**2))).astype(np.float32)


def make(folder: Path, name: str, trap: str) -> Path:
    """Write a file with a trap."""
    suffix, video, sound, options = CONTAINERS[name]
    path = folder / f"{name} {trap}.{suffix}"
    start, delay = STARTS.get(trap, (0, 0))
    pictures = numbered_pictures() if video else ()
    write_video(
        path, pictures, sound=sweep(), start=start, delay=delay, codec=video, sound_codec=sound, options=options
    )
    content = path.read_bytes()
    third = len(content) // 3 // 188 * 188  # packets of MPEG-TS
    cut = {"end missing": content[:-third], "start missing": content[third:], "joined": content + content}
    path.write_bytes(cut.get(trap, content))
    return path


def measure(path: Path) -> Outcome:
    """Read a file with FFmpeg and with crossmodal."""
    refused = ""
    by_ffmpeg, first_sample = _sound_of_ffmpeg(path)
    times, numbers = _pictures_of_ffmpeg(path)
    start = min([first_sample, *times[:1]])
    silence = np.zeros(round((first_sample - start) * RATE), np.float32)
    expected, waveform = np.concatenate([silence, by_ffmpeg]), np.zeros(0, np.float32)
    shown: list[list[int]] = [[], []]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            waveform = read_waveform(path, RATE)
            if times:
                seconds = np.unique(times) - start + 1e-3
                shown = [indices_of(read_video_frames(path, seconds, decoder=name)) for name in ("pyav", "auto")]
        except MediaError as error:
            refused = error.reason
    lengths = len(expected) / RATE, len(waveform) / RATE
    begins = _begin(expected), _begin(waveform)
    return Outcome(lengths, begins, (numbers, shown[0], shown[1]), bool(warned), refused)


def _begin(waveform: np.ndarray) -> float:
    """Return the time of the sweep's first sample, found by one of its middle parts."""
    part = sweep()[24_000:40_000]
    if len(waveform) < len(part):
        return 0.0
    size = len(waveform) + len(part)
    match = np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(part, size).conj(), size)[: len(waveform)]
    return (int(match.argmax()) - 24_000) / RATE


def _sound_of_ffmpeg(path: Path) -> tuple[np.ndarray, float]:
    """Return the samples and the time of the first one; as ``ffmpeg`` does, continue after packets that fail."""
    blocks, first = [np.zeros(0, np.float32)], None
    for frame in _frames(path, "audio"):
        first = frame.time or 0.0 if first is None else first
        samples = frame.to_ndarray().reshape(-1)
        blocks.append((samples / (1 << 15) if samples.dtype == np.int16 else samples).astype(np.float32))
    return np.concatenate(blocks), first or 0.0


def _pictures_of_ffmpeg(path: Path) -> tuple[list[float], list[int]]:
    pairs = [
        (frame.time, round(float(frame.to_ndarray(format="rgb24").mean()) / 5))
        for frame in _frames(path, "video")
        if not frame.is_corrupt
    ]
    return [time for time, _ in pairs], [number for _, number in pairs]


def _frames(path: Path, kind: str) -> Iterator[av.AudioFrame | av.VideoFrame]:
    with av.open(str(path)) as container:
        streams = getattr(container.streams, kind)
        for packet in container.demux(streams[0]) if streams else ():
            try:
                yield from packet.decode()
            except av.InvalidDataError:
                continue


def main() -> None:
    """Print the table."""
    print("| container | codecs |", " | ".join(TRAPS), "|")
    print("|---|---|" + "---|" * len(TRAPS))
    with tempfile.TemporaryDirectory() as folder:
        for name, (_, video, sound, _) in CONTAINERS.items():
            cells = []
            for trap in TRAPS:
                try:
                    cells.append(str(measure(make(Path(folder), name, trap))))
                except av.FFmpegError as error:
                    cells.append(f"FFmpeg: {error.strerror}")
            print(f"| {name} | {', '.join(filter(None, (video, sound)))} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
