"""Face features from other programs (OpenFace, py-feat, ...), as input of the teacher in place of pixels.

The source is a CSV or Parquet table with a column `clip` and one row per clip or video frame, or a folder of `.npy`.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from crossmodal.datasets.clip import ExcludedClip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.ravdess import parse_name
from crossmodal.errors import DataError
from crossmodal.storage import FileHashes, cache_dir, content_key, paths_below

# Increase when the same table or folder gives different features.
VERSION = 3
# Columns of OpenFace and py-feat that are not features.
BOOKKEEPING = {"frame", "face_id", "timestamp", "approx_time", "confidence", "success"}
_MOST_COLUMNS = 10_000  # of a CSV: Arrow needs some 10 kB for each, even for few rows
_FILE_SUFFIXES = {
    f".{kind}" for kind in ["avi", "csv", "flac", "flv", "m4a", "mkv", "mov", "mp3", "mp4", "npy", "ogg", "wav", "webm"]
}


def store_face_features(
    source: str | Path, num_rows: int, folder: Path | None = None
) -> tuple[ClipTensors, list[ExcludedClip]]:
    """Read face features once and store them by clip, as ``face_embeddings`` of shape (clips, N, D).

    The source is a ``.csv`` or ``.parquet`` table, or a folder of ``.npy`` of shape (D,) or (rows, D). A clip with
    several rows is divided into N segments of equal length, and each becomes the mean of its rows. N is 1 if every clip
    has one row, else `num_rows`. The folder is the cache.

    Raises:
        DataError: If the file, its column `clip` or its features are missing, or the clips differ in D.
    """
    source, folder = Path(source), folder or cache_dir()
    if not source.exists():
        raise DataError(f"Face features {source} not found: give a CSV or Parquet table, or a folder of .npy files.")
    hashes = FileHashes(folder / "hashes.json")
    arrays = _arrays(source) if source.is_dir() else {source.name: source}
    files = [(name, hashes[file]) for name, file in arrays.items()]
    hashes.save()
    key = content_key(files=files, num_rows=num_rows, version=VERSION)
    path = folder / "face_features" / f"{key}.safetensors"
    with ClipTensors.missing(path, "face features") as missing:
        if missing:
            rows = _read_folder(source) if source.is_dir() else _read_table(source)
            _store(rows, source, num_rows, path)
    tensors = ClipTensors(path)
    return tensors, [ExcludedClip(what, reason) for what, reason in tensors.about["excluded"]]


def feature_names(source: str | Path) -> list[str] | None:
    """Return the names of the D features of a table, in stored order; None for a folder, which has no names."""
    source = Path(source)
    if source.is_dir():
        return None
    with _table_errors(source):
        if source.suffix == ".parquet":
            schema = pa.parquet.read_schema(source)
        else:
            with pa.csv.open_csv(source) as reader:
                schema = reader.schema
        fields = [field.with_name(field.name.strip()) for field in schema]
    return [field.name for field in fields if _is_feature(field)]


def clip_name(name: str) -> str:
    """Return the clip name for an entry of a table: the six fields of a RAVDESS file, else the entry itself.

    Of other names, only the suffix of a media file is removed; folders are kept: ``s1/a01`` and ``s2/a01`` are two
    clips. Other dots are kept, as in ``take 2.1``.
    """
    path = PurePosixPath(name.replace("\\", "/"))  # as written on Windows
    if name.count("-") >= 5:  # as in RAVDESS names; trying to parse all others is slow for long tables
        with contextlib.suppress(ValueError):
            return parse_name(path.name if path.name.count("-") > 5 else f"03-{path.name}").clip
    return str(path.with_suffix("") if path.suffix.lower() in _FILE_SUFFIXES else path)


def segment_means(rows: NDArray[np.float32], num_rows: int) -> NDArray[np.float32]:
    """Return the means of `num_rows` segments of equal length; a segment shorter than a row is that row."""
    edges = np.linspace(0, len(rows), num_rows + 1)
    starts = np.minimum(np.floor(edges[:-1]).astype(int), len(rows) - 1)
    ends = np.maximum(np.floor(edges[1:]).astype(int), starts + 1)
    return np.stack([rows[start:end].mean(axis=0) for start, end in zip(starts, ends, strict=True)])


def _arrays(source: Path) -> dict[str, Path]:
    return {path.relative_to(source).as_posix(): path for path in paths_below(source) if path.suffix == ".npy"}


def _read_folder(source: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, file in _arrays(source).items():
        try:
            array = np.load(file, allow_pickle=False)
            yield name, np.atleast_2d(array).astype(np.float32)
        except Exception:  # NumPy's header parser raises many exception types
            yield name, np.empty((0, 0), np.float32)


@contextlib.contextmanager
def _table_errors(source: Path) -> Iterator[None]:
    """Raise the errors of Arrow inside the block as DataError."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:  # the last two: duplicate column, bad UTF-8
        raise DataError(f"Cannot read {source} as a table: {error}") from error


def _open_table(source: Path) -> pa.Table:
    """Read the table, without the rows of video frames in which no face was found."""
    if source.suffix == ".parquet":
        table = pa.parquet.read_table(source)
    else:
        with source.open("rb") as file:
            width = file.readline().count(b",") + 1
        if width > _MOST_COLUMNS:
            raise DataError(f"{source} has {width:,} columns; a CSV has at most {_MOST_COLUMNS:,}: use Parquet.")
        text = {name: pa.string() for name in ("clip", " clip")}  # Arrow would read 001 as a number
        table = pa.csv.read_csv(source, convert_options=pa.csv.ConvertOptions(column_types=text))
    table = table.rename_columns([name.strip() for name in table.column_names])  # OpenFace writes ", AU01_r"
    if "clip" not in table.column_names:
        raise DataError(
            f"{source} has no column 'clip'; its columns are {', '.join(table.column_names[:8])}, ... "
            "It must name the clip of each row, e.g. 01-01-06-01-02-01-12."
        )
    if "success" in table.column_names:  # OpenFace marks the video frames in which it found no face
        table = table.filter(pa.compute.equal(table["success"], 1))
    return table


def _read_table(source: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    with _table_errors(source):
        table = _open_table(source)
        features = [field.name for field in table.schema if _is_feature(field)]
        if not features:
            raise DataError(f"{source} has no features: it needs numeric columns in addition to 'clip'.")
        values = np.stack([table[name].to_numpy(zero_copy_only=False) for name in features], 1).astype(np.float32)
        names = np.array([str(name) for name in table["clip"].to_pylist()])
    order = np.argsort(names, kind="stable")
    names, firsts = np.unique(names[order], return_index=True)
    yield from zip(names.tolist(), np.split(values[order], firsts)[1:], strict=True)


def _is_feature(field: pa.Field) -> bool:
    is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    return is_number and field.name not in {"clip", *BOOKKEEPING}


def _store(rows: Iterator[tuple[str, NDArray[np.float32]]], source: Path, num_rows: int, path: Path) -> None:
    usable: dict[str, NDArray[np.float32]] = {}
    excluded = []
    for name, array in rows:
        whole = array[np.isfinite(array).all(axis=1)] if array.size else array
        if not len(whole):
            excluded.append((f"{source}: {name}", "every row of face features has missing values"))
        elif clip_name(name) in usable:  # modalities 01 and 02 of RAVDESS are the same performance
            excluded.append((f"{source}: {name}", "a second source of the same clip"))
        else:
            usable[clip_name(name)] = whole
    if not usable:
        raise DataError(f"{source} has no usable face features: give at least one row, or one .npy, per clip.")
    widths = {array.shape[1] for array in usable.values()}
    if len(widths) > 1:
        raise DataError(f"The clips of {source} have different numbers of features: {sorted(widths)}.")
    if max(map(len, usable.values())) == 1:
        num_rows = 1
    stacked = np.stack([segment_means(array, num_rows) for array in usable.values()])
    ClipTensors.save(path, list(usable), {"face_embeddings": stacked}, excluded=excluded, source=source.name)
