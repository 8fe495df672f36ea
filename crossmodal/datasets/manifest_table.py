"""Reading and writing the table of a manifest, as CSV or Parquet. All values are text."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet

from crossmodal.errors import CorpusNotFoundError, DataError
from crossmodal.storage import atomic_path

COLUMNS = ("clip", "audio", "video", "label", "speaker", "split", "start", "end", "audio_delay")
NEEDED = ("clip", "label", "speaker")
Row = Mapping[str, str]

_DELIMITERS = (",", ";", "\t")  # spreadsheets write semicolons in locales with a decimal comma


def read_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    """Yield the number of each row, and its columns as text or an error message.

    In CSV the header is row 1, as in spreadsheets; in Parquet rows count from 1. Missing columns and values are empty
    strings. CorpusNotFoundError is raised for a missing file, and DataError if it is not a table, or a required column
    is missing or duplicated.
    """
    if not path.is_file():
        raise CorpusNotFoundError(f"Manifest {path} not found: give a CSV or Parquet file with {_shown(COLUMNS)}.")
    if path.suffix.lower() == ".parquet":
        yield from _read_parquet(path)
        return
    # Bytes that are not UTF-8 are an error of their row only.
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        yield from _read_csv(path, file)


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a manifest atomically; columns for times are omitted if all rows leave them empty."""
    rows = list(rows)
    columns = [name for name in COLUMNS if name in COLUMNS[:6] or any(row.get(name, "") != "" for row in rows)]
    values = [[str(row.get(name, "")) for name in columns] for row in rows]
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".parquet":
            table = pa.table({name: [row[index] for row in values] for index, name in enumerate(columns)})
            pa.parquet.write_table(table, temporary)
            return
        with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows([columns, *values])


def _read_csv(path: Path, file: TextIO) -> Iterator[tuple[int, Row | str]]:
    first = file.readline()
    file.seek(0)
    delimiter = next((one for one in _DELIMITERS if "clip" in _columns(first.split(one))), ",")
    reader = csv.reader(file, delimiter=delimiter)
    header: Sequence[str] = ()
    number = 0
    while True:
        number += 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield number, f"it cannot be read ({error})"
            continue
        if fields is None:
            break
        if not header:
            header = _checked(path, _columns(fields))
        elif fields:
            yield number, _row(header, fields)
    _checked(path, header)


def _read_parquet(path: Path) -> Iterator[tuple[int, Row | str]]:
    try:
        table = pa.parquet.read_table(path)
        header = _checked(path, _columns(table.column_names))
        columns = [column.to_pylist() for column in table.columns]
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: invalid UTF-8 or dates
        raise DataError(f"Cannot read {path} as a Parquet table: {error}") from error
    for number, values in enumerate(zip(*columns, strict=True), 1):
        yield number, _row(header, [_text(value) for value in values])


def _columns(names: Iterable[str]) -> list[str]:
    return [name.strip().strip('"').lower() for name in names]


def _checked(path: Path, header: Sequence[str]) -> Sequence[str]:
    """Return the header; raise DataError if required columns are missing or columns are duplicated."""
    missing = [name for name in NEEDED if name not in header]
    if not {"audio", "video"} & set(header):
        missing.append("audio or video")
    if missing:
        raise DataError(
            f"{path} has no column(s) {_shown(missing)}; its columns are {_shown(header)}. A manifest has "
            f"{_shown(COLUMNS)}; split, start, end and audio_delay are optional."
        )
    if duplicates := [name for name in COLUMNS if header.count(name) > 1]:
        raise DataError(f"{path} has the column(s) {_shown(duplicates)} more than once.")
    return header


def _row(header: Sequence[str], fields: Sequence[str]) -> Row | str:
    if len(fields) != len(header):
        return f"it has {len(fields)} fields, but the header has {len(header)}"
    row = dict.fromkeys(COLUMNS, "") | {name: field.strip() for name, field in zip(header, fields, strict=True)}
    try:
        "".join(row[name] for name in COLUMNS).encode()
    except UnicodeEncodeError:
        return "it is not UTF-8"
    return row


def _text(value: object) -> str:
    """Format a value as in CSV: missing values are empty, and whole numbers have no decimals."""
    if value is None or value != value:  # NaN, which pandas writes for missing values
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _shown(names: Iterable[str]) -> str:
    short = [name[:30] for name in names]
    return ", ".join(short[:12]) + (", ..." if len(short) > 12 else "") or "none"
