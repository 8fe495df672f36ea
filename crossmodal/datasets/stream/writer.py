"""Write a prepared corpus as a stream."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.datasets.cache import FaceCrops, PreparedCorpus
from crossmodal.datasets.clip import Clip, nothing_usable
from crossmodal.datasets.source import CorpusSource
from crossmodal.datasets.stored_array import check_array
from crossmodal.datasets.stream.reader import ABOUT, VERSION, StreamAbout, is_remote, part_of, require_litdata
from crossmodal.errors import ConfigError, CorpusNotFoundError, DataError
from crossmodal.media import SAMPLE_RATE
from crossmodal.progress import progress_bar
from crossmodal.storage import cache_dir, content_key, locked

_CHUNK_BYTES = 64 * 2**20  # the default of litdata

Part = tuple[Callable[[str], Any], Sequence[str]]  # a function that makes an item, and its inputs


def write_stream(
    source: CorpusSource, corpus: PreparedCorpus, crops: FaceCrops, target: str, num_processes: int | None = None
) -> StreamAbout:
    """Write the prepared clips with sound and faces as a stream, and return its description.

    The target, see `check_target`, is a new folder, which is written atomically by this process, or a URL that litdata
    writes to with `num_processes`, such as ``s3://bucket/folder``. DataError is raised if litdata cannot write.
    """
    check_target(target)
    clips = [clip for clip in corpus.clips if clip.clip in corpus.waveforms and clip.clip in corpus.faces]
    if not clips:
        raise CorpusNotFoundError(nothing_usable(source.path, corpus.excluded))
    about = StreamAbout(
        kind=source.kind,
        name=source.name,
        protocol=source.protocol,
        labels=None if source.label_set else source.labels,
        crops=crops,
        clips=[_streamed(clip, corpus) for clip in clips],
    )
    text = json.dumps({**asdict(about), "version": VERSION}, default=str, ensure_ascii=False)
    parts: dict[str, Part] = {
        "waveforms": (_read, [str(corpus.waveforms[clip.clip]) for clip in clips]),
        "faces": (_read, [str(corpus.faces[clip.clip]) for clip in clips]),
        ABOUT: (_encode, [text]),
    }
    if is_remote(target):
        _upload(target, parts, num_processes or os.cpu_count() or 1)
    else:
        with _new_folder(Path(target)) as folder:
            for name, (make, inputs) in parts.items():
                _write(folder / name, make, inputs)
    return about


def check_target(target: str) -> None:
    """Raise ConfigError if a target exists, or several processes were started to write it."""
    require_litdata()
    if not is_remote(target) and Path(target).exists():
        raise ConfigError(f"{target} already exists: remove it, or write the stream to another place.")
    if os.environ.get("WORLD_SIZE", "1") != "1":  # litdata would wait forever for the other processes
        raise ConfigError("A stream must be written by a single process, but WORLD_SIZE is set to more than 1.")


def _streamed(clip: Clip, corpus: PreparedCorpus) -> Clip:
    """Return a clip with the names of its arrays in the stream, which are content keys, and its duration."""
    waveform, faces = corpus.waveforms[clip.clip], corpus.faces[clip.clip]
    duration = len(np.load(waveform, mmap_mode="r")) / SAMPLE_RATE
    names = {"audio": Path("waveforms") / waveform.name, "video": Path("faces") / faces.name}
    return replace(clip, **names, audio_start=0.0, video_start=0.0, duration=duration)  # type: ignore[arg-type]


def _read(path: str) -> NDArray[np.generic]:
    return np.array(check_array(Path(path)))


def _encode(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8)  # litdata cannot read an item of text from object storage


def _write(folder: Path, make: Callable[[str], Any], inputs: Sequence[str]) -> None:
    from litdata.streaming import Cache

    cache = Cache(str(folder), chunk_bytes=_CHUNK_BYTES)
    with progress_bar() as progress:
        for index, value in enumerate(progress.track(inputs, description=f"Writing {folder.name}")):
            cache[index] = make(value)
    cache.done()
    cache.merge()


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """Yield a folder that is renamed to `target` when the block succeeds. Leftovers of a killed writer are removed."""
    partial = target.parent / f".{target.name}.partial"
    lock = cache_dir() / "locks" / f"stream-{content_key(target=target.absolute())}.lock"
    with locked(lock, wait=False) as state:
        if state == "taken":
            raise ConfigError(f"Another process is writing {target}: wait for it, or write to another place.")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            yield partial
            partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _upload(target: str, parts: dict[str, Part], num_processes: int) -> None:
    from litdata import optimize

    in_order = {"reorder_files": False, "keep_data_ordered": True, "verbose": False}
    with _litdata_folders():
        try:
            for name, (make, inputs) in parts.items():
                workers = min(num_processes, len(inputs))
                where = part_of(target, name)
                optimize(make, list(inputs), where, chunk_bytes=_CHUNK_BYTES, num_workers=workers, **in_order)
        except Exception as error:  # litdata passes on exceptions of storage packages
            raise DataError(f"litdata could not write {target}: {error}") from error


@contextmanager
def _litdata_folders() -> Iterator[None]:
    """Let litdata work in a temporary folder; by default it leaves two folders behind."""
    with tempfile.TemporaryDirectory() as folder:
        names = ("DATA_OPTIMIZER_CACHE_FOLDER", "DATA_OPTIMIZER_DATA_CACHE_FOLDER")
        before = {name: os.environ.get(name) for name in names}
        os.environ.update({name: str(Path(folder) / name) for name in names})
        try:
            yield
        finally:
            for name, value in before.items():
                del os.environ[name]
                if value is not None:
                    os.environ[name] = value
