"""Check of one RAVDESS file. It runs in a child process, because it decodes foreign files."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.datasets.download.archive import crc32_of
from crossmodal.errors import MediaError
from crossmodal.media.container import ffmpeg_errors, open_stream
from crossmodal.media.source import opened
from crossmodal.storage import hash_file

Kind = Literal["damaged", "checksum", "duration", "sound", "duplicate", "copy", "name", "format"]
Floats = NDArray[np.float32]

DURATION = (2.0, 8.0)  # seconds; speech lasts 2.9 to 5.3
PUBLISHED_RATE = 48_000  # Hz

# Digital silence at the end. Of 1,224 real wavs one has 0.47 s and 26 have 10 ms or more; in those the sound before it
# is below -66 dBFS.
_SILENT_END, _SHORT_SILENT_END = 0.6, 0.01  # seconds
_ABRUPT = 1 / 500  # of full scale, -54 dBFS
_UNKNOWN = 0x7FFFF000  # least length in files that were written to a pipe, without a known length


@dataclass(frozen=True)
class Finding:
    """A finding about a file."""

    file: str
    kind: Kind
    reason: str


@dataclass(frozen=True)
class FileJob:
    """A file to check."""

    path: Path
    modality: str  # of RAVDESS
    checksum: tuple[int, int] | None = None  # published size and CRC-32


@dataclass
class FileReport:
    """Result of the check of a file."""

    file: str
    wrong: list[Finding] = field(default_factory=list)  # damage and suspicious properties
    notes: list[Finding] = field(default_factory=list)  # findings that are no errors
    content: str | None = None  # hash, to find identical files

    def add_error(self, kind: Kind, reason: str) -> None:
        """Add an error."""
        self.wrong.append(Finding(self.file, kind, reason))

    def add_note(self, reason: str) -> None:
        """Add a note about the format."""
        self.notes.append(Finding(self.file, "format", reason))


def check_file(job: FileJob) -> FileReport:
    """Check a file completely."""
    report = FileReport(str(job.path))
    try:
        as_published = job.checksum is not None and _has_checksum(job.path, job.checksum, report)
        if job.modality == "03":
            _check_wav(job.path, report, as_published)
        else:
            _check_video(job, report)
    except MediaError as error:
        report.add_error("damaged", error.reason)
    return report


def _has_checksum(path: Path, checksum: tuple[int, int], report: FileReport) -> bool:
    size, crc32 = path.stat().st_size, crc32_of(path)
    if (size, crc32) != checksum:
        published = f"{checksum[0]:,} bytes and CRC {checksum[1]:08x}"
        report.add_error("checksum", f"{size:,} bytes and CRC {crc32:08x}, but its archive has {published}")
    return (size, crc32) == checksum


def _check_wav(path: Path, report: FileReport, as_published: bool) -> None:
    with media.open_sound(path) as sound:
        rate, channels = sound.sample_rate, sound.channels
        waveform = sound.read(rate, longest=60)
    if channels > 1:
        report.add_note(f"{channels} channels, which are averaged")
    if rate != PUBLISHED_RATE:
        report.add_note(f"{rate:,} Hz, but published files have 48,000")
    _check_duration(len(waveform) / rate, report)
    report.content = hashlib.sha256(waveform.tobytes()).hexdigest()
    if not as_published and (damage := _damage(path, waveform, rate)):
        raise MediaError(path, damage)


def _damage(path: Path, waveform: Floats, rate: int) -> str | None:
    """Return a message if a wav, which has no checksum, is shorter than its header says, or its samples show damage."""
    with path.open("rb") as file:
        name, end = file.read(4), int.from_bytes(file.read(4), "little") + 8
    if name == b"RIFF" and path.stat().st_size < end < _UNKNOWN:
        return f"the file is truncated: its RIFF header says {end:,} bytes, not {path.stat().st_size:,}"
    sounding = np.flatnonzero(waveform)
    if not sounding.size:
        return "all its samples are zero"
    silent = (len(waveform) - 1 - sounding[-1]) / rate
    before = np.abs(waveform[: sounding[-1] + 1][-rate // 50 :]).max()
    if silent > _SILENT_END or (silent > _SHORT_SILENT_END and before > _ABRUPT):
        return f"its last {silent:.2f} s are all zeros"
    return None


def _check_video(job: FileJob, report: FileReport) -> None:
    info = media.probe_video(job.path)
    _check_duration(info.duration, report)
    _decode_all(job.path)
    report.content = hash_file(job.path)
    if abs(info.width / info.height - 16 / 9) > 0.02:
        report.add_note(f"{info.width}x{info.height}, but the face box is for 16:9")
    if info.has_sound:
        media.read_waveform(job.path, media.SAMPLE_RATE, longest=60)  # raises MediaError if it is damaged
    elif job.modality == "01":
        report.add_error("sound", "it has no sound, but modality 01 includes sound")


def _check_duration(seconds: float, report: FileReport) -> None:
    if not DURATION[0] <= seconds <= DURATION[1]:
        report.add_error("duration", f"it lasts {seconds:.2f} s, but clips last {DURATION[0]:g} to {DURATION[1]:g} s")


def _decode_all(path: Path) -> None:
    """Decode every video frame; raise MediaError if one is damaged or missing."""
    shown = hidden = decoded = 0
    with opened(path), open_stream(str(path), path, "video") as (container, stream), ffmpeg_errors(str(path)):
        stream.thread_type = "NONE"  # with frame threads FFmpeg misses some damage
        for packet in container.demux(stream):
            if packet.size:
                hidden += packet.is_discard  # by an edit list
                shown += not packet.is_discard
            for video_frame in packet.decode():
                if video_frame.is_corrupt:
                    when = video_frame.time or 0.0
                    raise MediaError(path, f"its video frame at {when:.2f} s is damaged")
                decoded += 1
        declared = stream.frames - hidden if stream.frames else shown
    if not declared == shown == decoded:
        raise MediaError(path, f"{decoded} video frames decode, {shown} are stored, and {declared} are declared")
