"""The corpus cache: every file is decoded once, into arrays that are memory-mapped when read.

One array is one file, named by what it came from: the source's hash, the settings, the version of this code. So a
killed run goes on where it stopped, two processes may prepare the same corpus, and a changed file or setting never
meets an old array. Foreign files are decoded in child processes with a time limit; what cannot be decoded is set aside.
"""

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool

from crossmodal import media
from crossmodal.datasets.clip import Clip, SetAside
from crossmodal.errors import MediaError
from crossmodal.progress import progress_bar
from crossmodal.storage import FileHashes, atomic_path, cache_dir, content_key

# To be raised when the same source and settings would give other arrays: it is part of every key.
VERSION = 1
TIME_LIMIT = 120.0  # seconds for one file; a whole clip takes less than one


@dataclass(frozen=True)
class FaceCrops:
    """What of a video is kept.

    Args:
        num_video_frames: Video frames a clip, evenly spread over it.
        face_size: Height and width of a crop, in pixels.
        box: Left, top, right and bottom of the face, as fractions of the picture's width and height.
    """

    num_video_frames: int
    face_size: int
    box: media.Box


@dataclass(frozen=True)
class PreparedCorpus:
    """What `prepare_corpus` leaves.

    Args:
        clips: The clips whose arrays are all there.
        waveforms: The file of each clip's waveform: (T,) float32 at 16 kHz.
        faces: The file of each clip's face crops: (N, 3, H, W) uint8.
        set_aside: What could not be decoded.
        made: How many arrays were made now.
        reused: How many were there.
    """

    clips: list[Clip]
    waveforms: dict[str, Path]
    faces: dict[str, Path]
    set_aside: list[SetAside]
    made: int
    reused: int


@dataclass(frozen=True)
class _Job:
    """One array to make: a waveform, or face crops where `crops` is given."""

    clip: Clip
    target: Path
    crops: FaceCrops | None = None

    @property
    def source(self) -> Path:
        path = self.clip.video if self.crops else self.clip.audio
        assert path is not None, "jobs are made of clips that have the file"
        return path


def prepare_corpus(
    clips: Sequence[Clip],
    *,
    audio: bool = True,
    crops: FaceCrops | None = None,
    folder: Path | None = None,
    num_processes: int | None = None,
) -> PreparedCorpus:
    """Decode what of these clips is not in the cache yet.

    Children are started with the spawn method: a script that calls this needs ``if __name__ == "__main__":``.

    Args:
        clips: Each with the files that are asked for.
        audio: Whether waveforms are wanted.
        crops: Which face crops are wanted, if any.
        folder: The cache; default `crossmodal.storage.cache_dir`.
        num_processes: Children that decode at the same time; default one for each core.

    Returns:
        What is there now, and what was set aside.
    """
    folder = folder or cache_dir()
    hashes = FileHashes(folder / "hashes.json")
    jobs, unreadable = _plan(clips, audio, crops, folder, hashes)
    hashes.save()
    missing = [job for job in jobs if read_array(job.target) is None]
    distinct = {job.target: job for job in missing}  # files of the same content are one array
    damaged = _make_all(list(distinct.values()), num_processes or os.cpu_count() or 1)
    failed = [job for job in missing if job.target in damaged]
    lost = {job.clip.clip for job in failed} | unreadable.keys()
    return PreparedCorpus(
        clips=[clip for clip in clips if clip.clip not in lost],
        waveforms={job.clip.clip: job.target for job in jobs if not job.crops},
        faces={job.clip.clip: job.target for job in jobs if job.crops},
        set_aside=[*unreadable.values(), *(SetAside(str(job.source), damaged[job.target]) for job in failed)],
        made=len(distinct) - len(damaged),
        reused=len(jobs) - len(missing),
    )


def read_array(path: Path) -> NDArray[np.generic] | None:
    """Map an array of the cache into memory; None where there is none or it is not whole."""
    try:
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array


def _plan(
    clips: Iterable[Clip], audio: bool, crops: FaceCrops | None, folder: Path, hashes: FileHashes
) -> tuple[list[_Job], dict[str, SetAside]]:
    """The arrays that the clips need, each under its key, and the clips whose files cannot be read at all."""
    jobs, unreadable = [], {}
    for clip in clips:
        try:
            if audio:
                key = _key(hashes, clip.audio, start=clip.audio_start, sample_rate=media.SAMPLE_RATE)
                jobs.append(_Job(clip, folder / "waveforms" / key[:2] / f"{key}.npy"))
            if crops:
                key = _key(hashes, clip.video, start=clip.video_start, **asdict(crops))
                jobs.append(_Job(clip, folder / "faces" / key[:2] / f"{key}.npy", crops))
        except OSError as error:
            unreadable[clip.clip] = SetAside(str(error.filename), f"cannot be read: {error.strerror}")
    return jobs, unreadable


def _key(hashes: FileHashes, path: Path | None, **settings: object) -> str:
    assert path is not None, "the datamodule asks only for what a clip has"
    return content_key(source=hashes[path], version=VERSION, **settings)


def _make_all(jobs: Sequence[_Job], num_processes: int) -> dict[Path, str]:
    """Make every array; returns why some could not be made, by their target."""
    if not jobs:
        return {}
    damaged = {}
    # spawn, not fork: the parent's threads (torch, rich) would leave locks held in a forked child.
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPool(max_workers=min(num_processes, len(jobs)), context=context) as pool,
        progress_bar() as progress,
    ):
        futures = [pool.schedule(_make, args=(job,), timeout=TIME_LIMIT) for job in jobs]
        try:
            for job, future in progress.track(zip(jobs, futures, strict=True), total=len(jobs), description="Decoding"):
                if reason := _failure(future):
                    damaged[job.target] = reason
        except BaseException:
            pool.stop()  # do not wait for the rest when the user stops the run
            raise
    return damaged


def _failure(future: Future[None]) -> str | None:
    """Wait for one array; the reason why it was not made, if so."""
    try:
        future.result()
    except MediaError as error:
        return error.reason
    except FutureTimeoutError:
        return f"decoding did not end within {TIME_LIMIT:.0f} s"
    except ProcessExpired as error:
        return f"the decoder crashed on it (exit code {error.exitcode})"
    return None


def _make(job: _Job) -> None:
    """Decode one array, in a child process."""
    if job.crops:
        array = _read_face_crops(job.clip, job.source, job.crops)
    else:
        array = media.read_waveform(job.source, start=job.clip.audio_start)
    with atomic_path(job.target) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _read_face_crops(clip: Clip, path: Path, crops: FaceCrops) -> NDArray[np.uint8]:
    """Crops at the middles of N equal pieces of the clip: (N, 3, H, W)."""
    duration = media.probe_video(path).duration - clip.video_start
    middles = (np.arange(crops.num_video_frames) + 0.5) / crops.num_video_frames
    seconds = clip.video_start + duration * middles
    return media.read_video_frames(path, seconds.tolist(), box=crops.box, size=crops.face_size)
