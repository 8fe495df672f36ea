"""Write a prepared corpus as a stream."""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.datasets.cache import PreparedCorpus
from crossmodal.datasets.clip import Clip, Split
from crossmodal.datasets.stored_array import check_array
from crossmodal.datasets.stream.reader import ABOUT, StreamAbout, is_remote, part_of, require_litdata
from crossmodal.errors import ConfigError, DataError
from crossmodal.progress import progress_bar
from crossmodal.storage import cache_dir, content_key, locked

UNLABELLED = -1
_CHUNK_BYTES = 64 * 2**20  # the default of litdata
# Chunks are shuffled and divided among processes, so a small split needs several too.
_LEAST_CHUNKS = 64

Item = dict[str, Any]


@dataclass(frozen=True)
class _ClipItems:
    """Items of clips from their arrays in the cache; picklable."""

    clips: Sequence[Clip]
    labels: Sequence[str]
    corpus: PreparedCorpus

    def __call__(self, index: int) -> Item:
        clip = self.clips[index]
        return {
            "clip": clip.clip,
            "label": UNLABELLED if clip.label is None else self.labels.index(clip.label),
            "actor": clip.actor,
            "waveform": np.array(check_array(self.corpus.waveforms[clip.clip])),
            "faces": np.array(check_array(self.corpus.faces[clip.clip])),
        }

    @property
    def chunk_size(self) -> int:
        """Number of clips per chunk."""
        paths = [paths[clip.clip] for clip in self.clips for paths in (self.corpus.waveforms, self.corpus.faces)]
        mean_bytes = sum(path.stat().st_size for path in paths) / len(self.clips)
        return max(1, min(len(self.clips) // _LEAST_CHUNKS, int(_CHUNK_BYTES / mean_bytes)))


@dataclass(frozen=True)
class _AboutItem:
    """The item with the description of the stream."""

    about: StreamAbout

    def __call__(self, index: int) -> Item:
        return {"json": json.dumps(asdict(self.about), ensure_ascii=False)}


def write_stream(
    split: Mapping[Split, Sequence[Clip]],
    corpus: PreparedCorpus,
    about: StreamAbout,
    target: str,
    num_processes: int | None = None,
) -> None:
    """Write clips as a stream. A folder is written atomically.

    Training clips are shuffled once with a fixed seed: a batch is read from a few chunks, so each chunk should have
    many speakers.

    Args:
        split: The clips of each split, each with a waveform and face crops.
        corpus: The prepared corpus with the arrays of the clips.
        about: The description of the stream.
        target: A new folder, or a URL that litdata writes to, such as ``s3://bucket/folder``.
        num_processes: Number of processes that write to a URL; default one per core. This process writes folders.

    Raises:
        ConfigError: See `check_target`.
        DataError: litdata could not write to the URL.
        MissingExtraError: litdata is not installed.
    """
    check_target(target)
    items = {name: _ClipItems(clips, about.labels, corpus) for name, clips in split.items()}
    items["train"] = _ClipItems(_shuffled(split["train"]), about.labels, corpus)
    if is_remote(target):
        _upload(target, items, _AboutItem(about), num_processes or os.cpu_count() or 1)
        return
    with _new_folder(Path(target)) as folder:
        for name, of_split in items.items():
            _write(folder / name, of_split, len(of_split.clips), of_split.chunk_size)
        _write(folder / ABOUT, _AboutItem(about), 1, 1)


def check_target(target: str) -> None:
    """Check that a stream can be written to a target.

    Raises:
        ConfigError: The target exists, or several processes were started to write it.
        MissingExtraError: litdata is not installed.
    """
    require_litdata()
    if not is_remote(target) and Path(target).exists():
        raise ConfigError(f"{target} already exists: remove it, or write the stream to another place.")
    if os.environ.get("WORLD_SIZE", "1") != "1":  # litdata would wait forever for the other processes
        raise ConfigError("A stream must be written by a single process, but WORLD_SIZE is set to more than 1.")


def _shuffled(clips: Sequence[Clip]) -> list[Clip]:
    return random.Random(0).sample(clips, len(clips))


def _write(folder: Path, items: Callable[[int], Item], number: int, chunk_size: int) -> None:
    from litdata.streaming import Cache

    cache = Cache(str(folder), chunk_size=chunk_size)
    with progress_bar() as progress:
        for index in progress.track(range(number), description=f"Writing {folder.name}"):
            cache[index] = items(index)
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


def _upload(target: str, items: Mapping[Split, _ClipItems], about: _AboutItem, num_processes: int) -> None:
    from litdata import optimize

    in_order = {"reorder_files": False, "keep_data_ordered": True, "verbose": False}
    with _litdata_folders():
        try:
            for name, of_split in items.items():
                inputs, where = list(range(len(of_split.clips))), part_of(target, name)
                optimize(of_split, inputs, where, chunk_size=of_split.chunk_size, num_workers=num_processes, **in_order)
            optimize(about, [0], part_of(target, ABOUT), chunk_size=1, num_workers=1, **in_order)
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
