"""The table of a manifest, CSV or Parquet: its rows as text, and writing one."""

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

_DELIMITERS = (",", ";", "\t")  # the second is what spreadsheets write where the comma is the decimal point


def read_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    """Read the table row by row.

    Yields:
        The row's number (in CSV as a spreadsheet counts, where the header is row 1; in Parquet from 1) with its columns
        as text, or with what is wrong with it. A column that the table lacks, and a missing value, is empty text.

    Raises:
        CorpusNotFoundError: There is no such file.
        DataError: It is no table, or lacks a column that is needed, or has one twice.
    """
    if not path.is_file():
        raise CorpusNotFoundError(f"There is no manifest {path}: give a CSV or Parquet file with {_shown(COLUMNS)}.")
    if path.suffix.lower() == ".parquet":
        yield from _read_parquet(path)
        return
    # Bytes that are no UTF-8 are the trouble of their row, not of the table.
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        yield from _read_csv(path, file)


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a manifest, whole or not at all; a column for times is left out where it is empty in all rows."""
    rows = list(rows)
    columns = [name for name in COLUMNS if name in COLUMNS[:6] or any(row.get(name, "") != "" for row in rows)]
    values = [[str(row.get(name, "")) for name in columns] for row in rows]
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".parquet":
            table = pa.table({name: [row[place] for row in values] for place, name in enumerate(columns)})
            pa.parquet.write_table(table, temporary)
            return
        with temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *values])


def _read_csv(path: Path, file: TextIO) -> Iterator[tuple[int, Row | str]]:
    first = file.readline()
    file.seek(0)
    fitting = [delimiter for delimiter in _DELIMITERS if "clip" in _columns(first.split(delimiter))]
    reader = csv.reader(file, delimiter=fitting[0] if fitting else ",")
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
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: text that is no UTF-8, a date of no year
        raise DataError(f"{path} cannot be read as a Parquet table: {error}") from error
    for number, values in enumerate(zip(*columns, strict=True), 1):
        yield number, _row(header, [_text(value) for value in values])


def _columns(names: Iterable[str]) -> list[str]:
    return [name.strip().strip('"').lower() for name in names]


def _checked(path: Path, header: Sequence[str]) -> Sequence[str]:
    """The header, if it has what is needed."""
    lacking = [name for name in NEEDED if name not in header]
    if not {"audio", "video"} & set(header):
        lacking.append("audio or video")
    if lacking:
        raise DataError(
            f"{path} lacks the column(s) {_shown(lacking)}: it has {_shown(header)}. A manifest has {_shown(COLUMNS)}; "
            "split, start, end and audio_delay may be left out."
        )
    if twice := [name for name in COLUMNS if header.count(name) > 1]:
        raise DataError(f"{path} has the column(s) {_shown(twice)} more than once.")
    return header


def _row(header: Sequence[str], fields: Sequence[str]) -> Row | str:
    if len(fields) != len(header):
        return f"it has {len(fields)} fields, and the header {len(header)}"
    row = dict.fromkeys(COLUMNS, "") | {name: field.strip() for name, field in zip(header, fields, strict=True)}
    try:
        "".join(row[name] for name in COLUMNS).encode()
    except UnicodeEncodeError:
        return "it is not UTF-8"
    return row


def _text(value: object) -> str:
    """A value as a CSV would have it: a missing one is empty, and a whole number has no decimals."""
    if value is None or value != value:  # NaN, which pandas writes for what is missing
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _shown(names: Iterable[str]) -> str:
    shown = [name[:30] for name in names]
    return ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "") or "none"
