"""A corpus as a stream: litdata's chunks, which are read from a folder or from object storage.

Of each split there is a litdata dataset, `train`, `val` and `test`; a fourth, `about`, holds one JSON text, for litdata
can put no other file into object storage. It is written last: where it is, the rest is.
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

# Raise when the layout of a stream changes: readers refuse streams of another version.
VERSION = 1
ABOUT = "about"


@dataclass(frozen=True)
class StreamAbout:
    """What a stream holds.

    Args:
        labels: The class names, in the order of their numbers.
        kind: Whether the corpus is RAVDESS, synthetic or a manifest's.
        name: What reports call it.
        protocol: How its speakers were divided.
        fold: Whose speakers test.
        is_speaker_dependent: Whether the same speakers train and test.
        actors: Of each split.
        num_clips: Of each split.
        version: Of the layout.
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
    """Read what a stream holds.

    Args:
        stream: A folder or an URL, as `write_stream` has written it.

    Raises:
        CorpusNotFoundError: There is no stream.
        DataError: It is damaged, or of another version.
        MissingExtraError: litdata is not installed.
    """
    dataset_class = require_litdata().StreamingDataset
    advice = "write one with `crossmodal data prepare ... --to litdata`, or see that it can be reached."
    if not is_remote(stream) and not (Path(stream) / ABOUT / "index.json").is_file():
        raise CorpusNotFoundError(f"There is no stream in {stream}: {advice}")
    try:
        dataset = dataset_class(part_of(stream, ABOUT), cache_dir=str(stream_cache()))
        divide(dataset, rank=0, processes=1)  # every process reads it whole
        about = json.loads(next(iter(dataset))["json"])
        found = about["version"]
        if found == VERSION:
            return StreamAbout(**{**about, "labels": tuple(about["labels"])})
    except Exception as error:  # litdata raises whatever the storage's own package does
        raise DataError(f"What {stream} holds cannot be read ({error}): {advice}") from error
    raise DataError(f"{stream} is of version {found}, and this is crossmodal for version {VERSION}: {advice}")


def check_whole(stream: str) -> None:
    """See whether every chunk is there, and as long as it has to be; only of a folder.

    Raises:
        DataError: Names the first file that is not.
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
            raise DataError(f"The stream in {stream} is damaged ({error}): copy or write it anew.") from error
        if wrong:
            raise DataError(f"The stream in {stream} is damaged ({wrong[0]} is cut short): copy or write it anew.")


def divide(dataset: Any, rank: int, processes: int) -> None:
    """Say which part of a litdata dataset this process reads.

    litdata by itself looks at `torch.distributed`, WORLD_SIZE and NNODES, and counts nodes by their GPUs. Where it
    finds several nodes, processes read different numbers of clips from the second epoch on, and some clips twice
    (0.2.76): training with DDP would wait for ever. So there is one node.
    """
    where = dataset.distributed_env
    where.world_size, where.global_rank, where.num_nodes = processes, rank, 1


def is_remote(stream: str) -> bool:
    """Whether a stream is no folder. ``local:`` is litdata's own: a folder that is read as if it were remote."""
    return "://" in stream or stream.startswith("local:")


def part_of(stream: str, name: str) -> str:
    """Where one of a stream's datasets is."""
    return f"{stream.rstrip('/')}/{name}" if is_remote(stream) else str(Path(stream).absolute() / name)


def stream_cache() -> Path:
    """Where the chunks of remote streams are kept."""
    return cache_dir() / "streams"


def require_litdata() -> Any:
    """The package litdata.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import litdata
    except ImportError as error:
        raise MissingExtraError("Streams need the package litdata: pip install 'crossmodal[stream]'") from error
    return litdata
