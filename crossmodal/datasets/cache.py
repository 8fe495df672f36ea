"""The corpus cache: every file is decoded once, into arrays that are memory-mapped when read.

One array is one file, named by what it came from: the source's hash, the settings, the version of this code. So a
killed run goes on where it stopped, several processes and machines may prepare the same corpus, and a changed file or
setting never meets an old array. Foreign files are decoded in child processes with a time limit; what cannot be decoded
is set aside, and listed in `quarantine.json`.
"""

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.datasets.clip import Clip, ExcludedClip
from crossmodal.datasets.faces.crops import FaceCrops, read_face_crops
from crossmodal.datasets.faces.detector import check_detector
from crossmodal.datasets.process_pool import Failure, map_in_processes
from crossmodal.datasets.quarantine import Quarantine, Quarantined
from crossmodal.datasets.stored_array import read_array, write_array
from crossmodal.datasets.window import read_clip_waveform
from crossmodal.progress import progress_bar
from crossmodal.storage import FileHashes, cache_dir, content_key, locked, remove_leftovers

# Raise when the same source and settings would give other arrays: every file is decoded again.
VERSION = 1

_Kind = Literal["waveforms", "faces"]
_State = Literal["made", "found", "busy"]


@dataclass(frozen=True)
class PreparedCorpus:
    """What `prepare_corpus` leaves.

    Args:
        clips: The clips whose arrays are all there.
        waveforms: The file of each waveform that is there, by clip: (T,) float32 at 16 kHz.
        faces: The file of the face crops that are there, by clip: (N, 3, H, W) uint8.
        set_aside: What could not be decoded.
        made: How many arrays were made now.
        reused: How many were there.
    """

    clips: list[Clip]
    waveforms: dict[str, Path]
    faces: dict[str, Path]
    set_aside: list[ExcludedClip]
    made: int
    reused: int


@dataclass(frozen=True)
class _Job:
    """One array to make: a waveform, or face crops where `crops` is given."""

    clip: Clip
    target: Path
    crops: FaceCrops | None = None

    @property
    def kind(self) -> _Kind:
        return "faces" if self.crops else "waveforms"

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
    retry: bool = False,
) -> PreparedCorpus:
    """Decode what of these clips is not in the cache yet.

    Two calls at once share the work. Children are started with the spawn method: a script that calls this needs
    ``if __name__ == "__main__":``.

    Args:
        clips: A clip without sound gets no waveform, one without video no face crops.
        audio: Whether waveforms are wanted.
        crops: Which face crops are wanted, if any.
        folder: The cache; default `crossmodal.storage.cache_dir`.
        num_processes: Children that decode at the same time; default one for each core.
        retry: Try files again that are known to be damaged.

    Returns:
        What is there now, and what was set aside.

    Raises:
        ConfigError: There is no such face detector.
        MissingExtraError: The face detector's package is not installed.
    """
    if crops and crops.detector:
        check_detector(crops.detector)
    folder, num_processes = folder or cache_dir(), num_processes or os.cpu_count() or 1
    hashes, quarantine = FileHashes(folder / "hashes.json"), Quarantine(folder)
    _hash_all(clips, audio, crops, hashes, num_processes)
    jobs, unreadable = _plan(clips, audio, crops, folder, hashes)
    missing = [job for job in jobs if read_array(job.target) is None]
    distinct = {job.target: job for job in missing}  # files of the same content are one array
    known = {} if retry else quarantine.reasons
    damaged = {target: Failure(known[target.stem], lasting=True) for target in distinct if target.stem in known}
    made, failed_now = _make_all([job for job in distinct.values() if job.target not in damaged], num_processes)
    damaged |= failed_now
    if damaged or quarantine:
        _remember(quarantine, jobs, damaged, hashes)
    failed = [job for job in missing if job.target in damaged]
    lost = {job.clip.clip for job in failed} | unreadable.keys()
    there = [job for job in jobs if job.target not in damaged]
    return PreparedCorpus(
        clips=[clip for clip in clips if clip.clip not in lost],
        waveforms={job.clip.clip: job.target for job in there if not job.crops},
        faces={job.clip.clip: job.target for job in there if job.crops},
        set_aside=[
            *unreadable.values(),
            *(ExcludedClip(str(job.source), damaged[job.target].reason) for job in failed),
        ],
        made=made,
        reused=len(jobs) - len(missing) + len(distinct) - len(damaged) - made,
    )


def _hash_all(
    clips: Sequence[Clip], audio: bool, crops: FaceCrops | None, hashes: FileHashes, num_threads: int
) -> None:
    """Read the files whose content is not known yet; what cannot be read is met again, and reported, in `_plan`."""
    files = {file: None for clip in clips for file in (clip.audio, clip.video if crops else None) if file}
    unknown = [file for file in files if (audio or crops) and not hashes.knows(file)]
    if not unknown:
        return

    def read(file: Path) -> None:
        with contextlib.suppress(OSError):
            hashes[file]

    with ThreadPoolExecutor(num_threads) as pool, progress_bar() as progress:
        for _ in progress.track(pool.map(read, unknown), total=len(unknown), description="Hashing"):
            pass
    hashes.save()


def _plan(
    clips: Sequence[Clip], audio: bool, crops: FaceCrops | None, folder: Path, hashes: FileHashes
) -> tuple[list[_Job], dict[str, ExcludedClip]]:
    """The arrays that the clips need, each under its key, and the clips whose files cannot be read at all."""
    jobs, unreadable = [], {}
    face_settings = crops.settings(hashes.__getitem__) if crops else {}
    for clip in clips:
        length: dict[str, Any] = {} if clip.duration is None else {"duration": clip.duration}
        try:
            if audio and clip.audio:
                key = _key(hashes, clip.audio, start=clip.audio_start, sample_rate=media.SAMPLE_RATE, **length)
                jobs.append(_Job(clip, folder / "waveforms" / key[:2] / f"{key}.npy"))
            if crops and clip.video:
                if clip.audio and not length:  # then the face is as long as the sound
                    length = {"sound": hashes[clip.audio], "audio_start": clip.audio_start}
                key = _key(hashes, clip.video, start=clip.video_start, **face_settings, **length)
                jobs.append(_Job(clip, folder / "faces" / key[:2] / f"{key}.npy", crops))
        except OSError as error:
            unreadable[clip.clip] = ExcludedClip(str(error.filename), f"cannot be read: {error.strerror}")
    return jobs, unreadable


def _key(hashes: FileHashes, path: Path, **settings: object) -> str:
    return content_key(source=hashes[path], version=VERSION, **settings)


def _make_all(jobs: Sequence[_Job], num_processes: int) -> tuple[int, dict[Path, Failure]]:
    """Make every array; returns how many were made here, and why some could not be, by their target."""
    made, damaged = 0, {}
    outcomes = map_in_processes(
        _make, jobs, description="Decoding", num_processes=num_processes, again=lambda state: state == "busy"
    )
    for job, outcome in outcomes:
        if isinstance(outcome, Failure):
            damaged[job.target] = outcome
        else:
            made += outcome == "made"
    return made, damaged


def _make(job: _Job) -> _State:
    """Decode one array, in a child process, unless another process does just that."""
    lock = job.target.parents[2] / "locks" / f"{job.target.stem[:3]}.lock"
    with locked(lock, wait=False) as state:
        if state == "taken":
            return "busy"
        if read_array(job.target) is not None:
            return "found"
        if state == "held":  # without locks two may make the same at once, each of them whole
            remove_leftovers(job.target)
        if job.crops:
            array: NDArray[np.generic] = read_face_crops(job.clip, job.source, job.crops)
        else:
            array = read_clip_waveform(job.clip, job.source)
        write_array(job.target, array)
    return "made"


def _remember(quarantine: Quarantine, jobs: Sequence[_Job], damaged: dict[Path, Failure], hashes: FileHashes) -> None:
    content = {str(job.source): hashes[job.source] for job in jobs}
    quarantine.update(
        damaged=[
            Quarantined(
                file=str(job.source),
                wanted=job.kind,
                reason=damaged[job.target].reason,
                lasting=damaged[job.target].lasting,
                sha256=content[str(job.source)],
                key=job.target.stem,
            )
            for job in jobs
            if job.target in damaged
        ],
        whole={job.target.stem for job in jobs if job.target not in damaged},
        hashes=content,
    )
