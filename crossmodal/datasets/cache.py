"""Corpus cache: every file is decoded once, in a child process, into an array that is memory-mapped when read.

An array is named by a key of the source's hash, the settings and the version of this code: a killed run can resume,
processes and machines can share the work, and a changed file or setting uses no old array.
"""

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.datasets.clip import Clip, ExcludedClip
from crossmodal.datasets.clip_waveform import read_clip_waveform
from crossmodal.datasets.faces.crops import FaceCrops, read_face_crops
from crossmodal.datasets.faces.detector import check_detector
from crossmodal.datasets.quarantine import Quarantine, Quarantined
from crossmodal.datasets.stored_array import cached, read_array
from crossmodal.process_pool import Failure, map_in_processes
from crossmodal.progress import progress_bar
from crossmodal.storage import FileHashes, cache_dir, content_key

# Increase when the same source and settings give different arrays; all files are then decoded again.
VERSION = 3


@dataclass(frozen=True)
class PreparedCorpus:
    """Result of `prepare_corpus`."""

    clips: list[Clip]  # with all arrays
    waveforms: dict[str, Path]  # by clip: (T,) float32 at 16 kHz
    faces: dict[str, Path]  # by clip: (N, 3, H, W) uint8
    excluded: list[ExcludedClip]  # files that could not be decoded
    made: int  # arrays that this call created
    reused: int  # arrays that existed
    unusable: list[ExcludedClip] = field(default_factory=list)  # files and rows that `prepare` found to be no clips


@dataclass(frozen=True)
class _Job:
    """An array to create: a waveform, or face crops if `crops` is given."""

    clip: Clip
    target: Path
    crops: FaceCrops | None = None

    @property
    def source(self) -> Path:
        path = self.clip.video if self.crops else self.clip.audio
        assert path is not None, "a job is created only if the clip has the file"
        return path

    def decode(self) -> NDArray[np.generic]:
        """Decode the source in a child process."""
        if self.crops:
            return read_face_crops(self.clip, self.source, self.crops)
        return read_clip_waveform(self.clip, self.source)


def prepare_corpus(
    clips: Sequence[Clip],
    *,
    audio: bool = True,
    crops: FaceCrops | None = None,
    folder: Path | None = None,
    num_processes: int | None = None,
    retry: bool = False,
) -> PreparedCorpus:
    """Decode clips that are not in the cache yet.

    Concurrent calls share the work. It is done in child processes: a script that calls this needs
    ``if __name__ == "__main__":``. Files that cannot be decoded are excluded and listed in ``quarantine.json``; `retry`
    tries them again. Clips without sound get no waveform; clips without video, or all without `crops`, no face crops.
    The folder is by default `crossmodal.storage.cache_dir`, and the number of processes that of the cores.

    Raises:
        ConfigError: If the face detector does not exist.
        MissingExtraError: If the package of the face detector is not installed.
    """
    if crops and crops.detector:
        check_detector(crops.detector)
    folder, num_processes = folder or cache_dir(), num_processes or os.cpu_count() or 1
    hashes, quarantine = FileHashes(folder / "hashes.json"), Quarantine(folder)
    _hash_all(clips, audio, crops, hashes, num_processes)
    jobs, unreadable = _plan(clips, audio, crops, folder, hashes)
    missing = [job for job in jobs if read_array(job.target) is None]
    distinct = {job.target: job for job in missing}  # files with the same content share an array
    known = {} if retry else quarantine.reasons
    damaged = {target: Failure(known[target.stem], lasting=True) for target in distinct if target.stem in known}
    made, failed_now = _make_all([job for job in distinct.values() if job.target not in damaged], num_processes)
    damaged |= failed_now
    if damaged or quarantine:
        _update_quarantine(quarantine, jobs, damaged, hashes)
    failed = [job for job in missing if job.target in damaged]
    excluded = {job.clip.clip for job in failed} | unreadable.keys()
    stored = [job for job in jobs if job.target not in damaged]
    return PreparedCorpus(
        clips=[clip for clip in clips if clip.clip not in excluded],
        waveforms={job.clip.clip: job.target for job in stored if not job.crops},
        faces={job.clip.clip: job.target for job in stored if job.crops},
        excluded=[*unreadable.values(), *(ExcludedClip(str(job.source), damaged[job.target].reason) for job in failed)],
        made=made,
        reused=len(jobs) - len(missing) + len(distinct) - len(damaged) - made,
    )


def _hash_all(
    clips: Sequence[Clip], audio: bool, crops: FaceCrops | None, hashes: FileHashes, num_threads: int
) -> None:
    """Hash files that have no cached hash; files that cannot be read are reported later."""
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
    """Return a job for each array of the clips, and the clips with unreadable files."""
    jobs, unreadable = [], {}
    face_settings = crops.settings(hashes.__getitem__) if crops else {}
    for clip in clips:
        length: dict[str, Any] = {} if clip.duration is None else {"duration": clip.duration}
        try:
            if audio and clip.audio:
                key = _key(hashes, clip.audio, start=clip.audio_start, sample_rate=media.SAMPLE_RATE, **length)
                jobs.append(_Job(clip, folder / "waveforms" / key[:2] / f"{key}.npy"))
            if crops and clip.video:
                if clip.audio and not length:  # the face crops then cover the duration of the sound
                    length = {"sound": hashes[clip.audio], "audio_start": clip.audio_start}
                key = _key(hashes, clip.video, start=clip.video_start, **face_settings, **length)
                jobs.append(_Job(clip, folder / "faces" / key[:2] / f"{key}.npy", crops))
        except OSError as error:
            unreadable[clip.clip] = ExcludedClip(str(error.filename), f"cannot be read: {error.strerror}")
    return jobs, unreadable


def _key(hashes: FileHashes, path: Path, **settings: object) -> str:
    return content_key(source=hashes[path], version=VERSION, **settings)


def _make_all(jobs: Sequence[_Job], num_processes: int) -> tuple[int, dict[Path, Failure]]:
    """Create the arrays; returns the number of arrays created by this call, and the failures by target."""
    work = map_in_processes(
        _make, jobs, description="Decoding", num_processes=num_processes, again=lambda state: state == "busy"
    )
    outcomes = {job.target: outcome for job, outcome in work}
    damaged = {target: outcome for target, outcome in outcomes.items() if isinstance(outcome, Failure)}
    return sum(outcome == "made" for outcome in outcomes.values()), damaged


def _make(job: _Job) -> Literal["made", "found", "busy"]:
    return cached(job.target, job.decode)


def _update_quarantine(
    quarantine: Quarantine, jobs: Sequence[_Job], damaged: dict[Path, Failure], hashes: FileHashes
) -> None:
    content, entries, whole = {str(job.source): hashes[job.source] for job in jobs}, [], set()
    for job in jobs:
        file, key = str(job.source), job.target.stem
        if job.target in damaged:
            failure, kind = damaged[job.target], "faces" if job.crops else "waveforms"
            entries.append(Quarantined(file, kind, failure.reason, failure.lasting, content[file], key))
        else:
            whole.add(key)
    quarantine.update(entries, whole, content)
