"""Reading and writing the table of a manifest, as CSV or Parquet. All values are text."""

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet

from crossmodal.datasets.manifest_values import shown, with_decimal_point
from crossmodal.errors import CorpusNotFoundError, DataError
from crossmodal.storage import atomic_path

COLUMNS = ("clip", "audio", "video", "label", "speaker", "split", "sex", "start", "end", "audio_delay")
NEEDED = ("clip", "label", "speaker")
Row = Mapping[str, str]

# Names of columns in the tables of other tools. A file is video or audio, by its suffix.
_OTHER_NAMES = {
    "file": ("path", "file", "filename", "file_name", "filepath", "file_path"),
    "label": ("emotion",),
    "speaker": ("speaker_id", "actor", "actor_id"),
}
_KNOWN = {*COLUMNS, *(name for names in _OTHER_NAMES.values() for name in names)}
_VIDEO_SUFFIXES = (".mp4", ".flv", ".avi", ".mkv", ".mov", ".webm", ".m4v")
_TIMES = ("start", "end", "audio_delay")

_DELIMITERS = (",", ";", "\t", "|")  # spreadsheets write semicolons in locales with a decimal comma
_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?[,;\t|]*\s*', re.IGNORECASE)  # for Excel, above the header
_BLANK = ' \t\r\n,;|"'
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


def read_rows(path: Path, notes: list[str] | None = None) -> Iterator[tuple[int, Row | str]]:
    """Yield the number of each row, and its columns as text or an error message.

    In CSV the header is row 1, as in spreadsheets; in Parquet rows count from 1. Missing columns and values are empty
    strings. A sentence is added to `notes` for each column that is read under another name. CorpusNotFoundError is
    raised for a missing file, and DataError if it is not a table, or a required column is missing or duplicated.
    """
    notes = [] if notes is None else notes
    if not path.is_file():
        raise CorpusNotFoundError(f"Manifest {path} not found: give a CSV or Parquet file with {shown(COLUMNS)}.")
    if path.suffix.lower() == ".parquet":
        yield from _read_parquet(path, notes)
        return
    # Bytes that are not UTF-8 are an error of their row only.
    with path.open(newline="", encoding=_encoding(path), errors="surrogateescape") as file:
        try:
            yield from _read_csv(path, file, notes)
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is damaged UTF-16 text: save it as CSV UTF-8.") from error


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a manifest atomically; sex and times are omitted if all rows leave them empty."""
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


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(_SPREADSHEETS):
        raise DataError(f"{path} is a spreadsheet or an archive: save the table as CSV UTF-8 or Parquet.")
    if head.startswith(_UTF_16):
        return "utf-16"
    even, odd = head[::2], head[1::2]
    if len(head) == 8 and any(even) != any(odd):  # ASCII characters of a header in UTF-16 without a byte order mark
        return "utf-16-le" if any(even) else "utf-16-be"
    return "utf-8-sig"


def _read_csv(path: Path, file: TextIO, notes: list[str]) -> Iterator[tuple[int, Row | str]]:
    number, first, delimiter = 0, "", ""
    for line in file:
        if not delimiter and (separator := _SEPARATOR.fullmatch(line)):
            delimiter = separator[1]  # the line is not a row of the spreadsheet
        elif line.strip(_BLANK):
            first = line
            break
        else:
            number += 1
    delimiter = delimiter or max(_DELIMITERS, key=lambda one: len(_KNOWN.intersection(_columns(first.split(one)))))
    reader = csv.reader(chain([first], file), delimiter=delimiter, skipinitialspace=True)
    header: Sequence[str] = ()
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
            header = _checked(path, _columns(fields), notes)
        elif any(field.strip() for field in fields):
            yield number, _row(header, fields, delimiter)
    _checked(path, header, [])


def _read_parquet(path: Path, notes: list[str]) -> Iterator[tuple[int, Row | str]]:
    try:
        table = pa.parquet.read_table(path)
        header = _checked(path, _columns(table.column_names), notes)
        columns = [column.to_pylist() for column in table.columns]
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: invalid UTF-8 or dates
        raise DataError(f"Cannot read {path} as a Parquet table: {error}") from error
    for number, values in enumerate(zip(*columns, strict=True), 1):
        yield number, _row(header, [_text(value) for value in values])


def _columns(names: Iterable[str]) -> list[str]:
    return ["_".join(name.strip().strip('"').lower().split()) for name in names]


def _checked(path: Path, found: Sequence[str], notes: list[str]) -> Sequence[str]:
    """Return the header in our names; raise DataError if required columns are missing or columns are duplicated."""
    header = _renamed(path, found, notes)
    missing = [name for name in NEEDED if name not in header and not (name == "clip" and _names_by_file(header))]
    if not {"audio", "video", "file"} & set(header):
        missing.append("audio or video")
    if missing:
        raise DataError(
            f"{path} has no column(s) {shown(missing)}; its columns are {shown(found)}. A manifest has "
            f"{shown(COLUMNS)}; split, sex, start, end and audio_delay are optional."
        )
    if duplicates := [name for name in (*COLUMNS, "file") if header.count(name) > 1]:
        raise DataError(f"{path} has the column(s) {shown(duplicates)} more than once.")
    return header


def _names_by_file(header: Sequence[str]) -> bool:
    """Return True if clips are named after files; parts of one file need names of their own."""
    return "file" in header and not {"clip", "start"} & {*header}


def _renamed(path: Path, found: Sequence[str], notes: list[str]) -> list[str]:
    """Replace the column names of other tools, where ours do not occur."""
    header = ["" if name == "file" else name for name in found]
    for ours, others in _OTHER_NAMES.items():
        present = [name for name in found if name in others]
        targets = ("audio", "video") if ours == "file" else (ours,)
        if not present or {*targets} & {*found}:
            continue
        if len(present) > 1:
            raise DataError(f"{path} has the columns {shown(present)}: rename one of them to {' or '.join(targets)}.")
        header[found.index(present[0])] = ours
        notes.append(f"the column {present[0]} is read as {' or '.join(targets)}")
    if _names_by_file(header):
        notes.append("clips are named after their files, because there is no column clip")
    return header


def _row(header: Sequence[str], fields: Sequence[str], delimiter: str = "") -> Row | str:
    # Spreadsheets write empty fields at the end of some rows, and omit those of columns without a name.
    if any(header[len(fields) :]) or any(field.strip() for field in fields[len(header) :]):
        return f"it has {len(fields)} fields, but the header has {len(header)}"
    row = dict.fromkeys(COLUMNS, "") | {name: field.strip() for name, field in zip(header, fields, strict=False)}
    if file := row.pop("file", ""):
        row["video" if file.lower().endswith(_VIDEO_SUFFIXES) else "audio"] = file
    if _names_by_file(header):
        row["clip"] = file
    for name in _TIMES:
        row[name] = with_decimal_point(row[name], is_sure=delimiter == ";")
    try:
        "".join(row[name] for name in COLUMNS).encode()
    except UnicodeEncodeError:
        return "it is not UTF-8: save the table as CSV UTF-8"
    return row


def _text(value: object) -> str:
    """Format a value as in CSV: missing values are empty, and whole numbers have no decimals."""
    if value is None or value != value:  # NaN, which pandas writes for missing values
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
