"""A corpus as a stream: chunks of litdata, read from a folder or from object storage.

Each split, `train`, `val` and `test`, is a litdata dataset. A fourth one, `about`, has one JSON text, because litdata
writes no other files to object storage. It is written last: if it exists, the stream is complete.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from crossmodal.datasets.clip import Split
from crossmodal.datasets.source import CorpusKind
from crossmodal.datasets.splits.protocols import Protocol
from crossmodal.errors import CorpusNotFoundError, DataError, MissingExtraError
from crossmodal.storage import cache_dir

# Increase when the layout of a stream changes; readers reject other versions.
VERSION = 1
ABOUT = "about"


@dataclass(frozen=True)
class StreamAbout:
    """Description of a stream.

    Args:
        labels: The class names, in the order of the class indices.
        kind: The kind of corpus: RAVDESS, synthetic or a manifest.
        name: The name of the corpus in reports.
        protocol: The protocol that divided its speakers.
        fold: The fold of the protocol.
        is_speaker_dependent: True if training and test share speakers.
        actors: The actors of each split.
        num_clips: The number of clips of each split.
        version: The version of the layout.
    """

    labels: tuple[str, ...]
    kind: CorpusKind
    name: str
    protocol: Protocol
    fold: int
    is_speaker_dependent: bool
    actors: dict[Split, list[str]]
    num_clips: dict[Split, int]
    version: int = VERSION


def read_about(stream: str) -> StreamAbout:
    """Read the description of a stream.

    Args:
        stream: A folder or URL written by `write_stream`.

    Raises:
        CorpusNotFoundError: The stream does not exist.
        DataError: The stream is damaged, or has another version.
        MissingExtraError: litdata is not installed.
    """
    dataset_class = require_litdata().StreamingDataset
    advice = "write one with `crossmodal data prepare ... --to litdata`, or check the path or URL."
    if not is_remote(stream) and not (Path(stream) / ABOUT / "index.json").is_file():
        raise CorpusNotFoundError(f"No stream found in {stream}: {advice}")
    try:
        dataset = dataset_class(part_of(stream, ABOUT), cache_dir=str(stream_cache()))
        divide(dataset, rank=0, processes=1)  # every process reads all of it
        about = json.loads(next(iter(dataset))["json"])
        found = about["version"]
        if found == VERSION:
            return StreamAbout(**{**about, "labels": tuple(about["labels"])})
    except Exception as error:  # litdata passes on exceptions of storage packages
        raise DataError(f"Cannot read the stream {stream} ({error}): {advice}") from error
    raise DataError(f"{stream} has version {found}, but this crossmodal reads version {VERSION}: {advice}")


def check_whole(stream: str) -> None:
    """Check that every chunk of a stream in a folder exists and has the right size.

    Raises:
        DataError: A file is missing or truncated.
    """
    if is_remote(stream):
        return
    for name in get_args(Split):
        folder = Path(stream) / name
        try:
            chunks = json.loads((folder / "index.json").read_text(encoding="utf-8"))["chunks"]
            sizes = {folder / chunk["filename"]: chunk["chunk_bytes"] for chunk in chunks}
            wrong = [path for path, size in sizes.items() if path.stat().st_size != size]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"The stream in {stream} is damaged ({error}): copy or write it again.") from error
        if wrong:
            raise DataError(f"The stream in {stream} is damaged ({wrong[0]} is truncated): copy or write it again.")


def divide(dataset: Any, rank: int, processes: int) -> None:
    """Set the shard of a litdata dataset that this process reads.

    By default litdata uses `torch.distributed`, WORLD_SIZE and NNODES, and counts nodes by their GPUs. With several
    nodes, processes read different numbers of clips from the second epoch on, and some clips twice (0.2.76), so that
    training with DDP would hang. This function therefore sets one node.
    """
    environment = dataset.distributed_env
    environment.world_size, environment.global_rank, environment.num_nodes = processes, rank, 1


def is_remote(stream: str) -> bool:
    """Return True for a URL. ``local:`` is a prefix of litdata for a folder that is read as if it were remote."""
    return "://" in stream or stream.startswith("local:")


def part_of(stream: str, name: str) -> str:
    """Return the path or URL of one dataset of a stream."""
    return f"{stream.rstrip('/')}/{name}" if is_remote(stream) else str(Path(stream).absolute() / name)


def stream_cache() -> Path:
    """Return the cache folder for chunks of remote streams."""
    return cache_dir() / "streams"


def require_litdata() -> Any:
    """Import litdata.

    Raises:
        MissingExtraError: litdata is not installed.
    """
    try:
        import litdata
    except ModuleNotFoundError as error:
        raise MissingExtraError("Streams need the package litdata: pip install 'crossmodal[stream]'") from error
    return litdata
