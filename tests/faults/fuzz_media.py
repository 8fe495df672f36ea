"""Damaged recordings, and the ways in which the library reads recordings."""

import asyncio
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from crossmodal import media
from crossmodal.apps.serve.decoders import Decoders
from crossmodal.apps.serve.limits import Limits, RequestError
from crossmodal.datasets.audit.file import FileJob, check_file
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.clip_waveform import read_clip_waveform
from crossmodal.datasets.faces.crops import FaceCrops, read_face_crops
from crossmodal.datasets.ravdess import FACE_BOX
from crossmodal.inference.recording import LONGEST
from tests.faults.attempts import Damaged, Way
from tests.faults.mutations import BYTES
from tests.inference.fake_model import fake_recognizer

SECONDS = 30.0  # for one file and way; one file is an hour of audio; the server's own limit is ten seconds
MEMORY = 512.0  # MB for one file, the server's limit
_GOOD, _CRAFTED = "good", "crafted"
_WAV, _MP4 = "16_bit.wav", "h264.mp4"  # in RAVDESS's formats
_CROPS = FaceCrops(num_video_frames=4, face_size=32, box=FACE_BOX)


def prepare(folder: Path) -> None:
    """Write undamaged recordings of all formats, and hand-crafted malicious files."""
    from tests.apps.serve.hostile import bombs, lying_headers, not_sound, odd_samples
    from tests.faults.recordings import write_good_recordings

    write_good_recordings(folder / _GOOD)
    (folder / _CRAFTED).mkdir()
    for name, content in {**not_sound(), **lying_headers(), **odd_samples(), **bombs()}.items():
        (folder / _CRAFTED / f"{name}.wav").write_bytes(content)


def damage(rng: Random, folder: Path) -> Damaged:
    ravdess = [folder / _GOOD / name for name in (_WAV, _MP4)]
    source, other = (rng.choice([*ravdess, *ravdess, *good(folder)]) for _ in range(2))
    content, name = source.read_bytes(), f"input{source.suffix}"
    kind = rng.choice([*BYTES, *BYTES, "another format's name", "two formats", "random bytes", "empty", "hand-crafted"])
    if kind in BYTES:
        return Damaged(kind, name, BYTES[kind](rng, content))
    if kind == "another format's name":
        return Damaged(kind, f"input{other.suffix}", content)
    if kind == "two formats":
        at = rng.randrange(len(content) + 1)
        return Damaged(kind, name, content[:at] + other.read_bytes())
    if kind == "hand-crafted":
        crafted = rng.choice(_files(folder / _CRAFTED))
        return Damaged(kind, rng.choice((crafted.name, "input.mp4", "input.flac")), crafted.read_bytes())
    return Damaged(kind, name, rng.randbytes(rng.randrange(1, 10_000)) if kind == "random bytes" else b"")


def good(folder: Path) -> list[Path]:
    return _files(folder / _GOOD)


def ways(folder: Path, path: Path) -> dict[str, Way]:
    """Return the ways to read a file: ``data check``, ``data prepare``, recognizer, server, `read_video_frames`."""
    clip = Clip("01-01-01-01-01-01", "01", "neutral", audio=path, video=path)
    return {
        "data check, as sound": Way(lambda: _check(FileJob(path, "03")), isolated=True),
        "data check, as video": Way(lambda: _check(FileJob(path, "01")), isolated=True),
        "data prepare, sound": Way(lambda: _check_waveform(read_clip_waveform(clip, path)), isolated=True),
        "data prepare, faces": Way(lambda: _check_faces(read_face_crops(clip, path, _CROPS)), isolated=True),
        "recognizer": Way(lambda: _listen(path)),
        "recognizer, bytes": Way(lambda: _listen(path.read_bytes())),
        "timeline": Way(lambda: _check_timeline(path)),
        "server": Way(lambda: _upload(path.read_bytes()), isolated=True),
        "video frames": Way(lambda: _check_faces(media.read_video_frames(path, [0.0, 0.1], size=32))),
    }


@cache
def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _check_waveform(waveform: np.ndarray) -> None:
    assert waveform.dtype == np.float32, waveform.dtype
    assert waveform.ndim == 1, waveform.shape
    assert np.abs(waveform).max() <= 1, "samples are NaN or beyond 1"  # comparisons with NaN are false


def _check_faces(faces: np.ndarray) -> None:
    assert faces.dtype == np.uint8, faces.dtype
    assert faces.shape[1:] == (3, 32, 32), faces.shape


def _check(job: FileJob) -> str | None:
    return "found damaged" if any(finding.kind == "damaged" for finding in check_file(job).wrong) else None


def _listen(recording: Path | bytes) -> None:
    prediction = fake_recognizer()(recording)
    assert 0 <= prediction.score <= 1, prediction


def _check_timeline(path: Path) -> None:
    timeline = fake_recognizer().timeline(path)
    assert np.isfinite(timeline.duration)
    assert all(0 <= window.prediction.score <= 1 for window in timeline.windows)


@cache
def _server() -> Callable[[bytes], np.ndarray]:
    loop, decoders = asyncio.new_event_loop(), Decoders(Limits(decoders=1), media.SAMPLE_RATE)
    loop.run_until_complete(decoders.start())
    return lambda encoded: loop.run_until_complete(decoders.decode(encoded, LONGEST)).waveform


def _upload(encoded: bytes) -> None:
    try:
        _check_waveform(_server()(encoded))
    except RequestError as refusal:
        assert str(Path.cwd()) not in refusal.reason
        raise
