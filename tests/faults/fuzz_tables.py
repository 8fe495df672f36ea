"""Manifests as spreadsheets and other programs export them, damaged, and their reader."""

import io
from collections.abc import Callable
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import soundfile

from tests.faults import fuzz_manifests as manifests
from tests.faults import reading_files as reading
from tests.faults.attempts import Damaged, Way
from tests.faults.mutations import BYTES

SECONDS, MEMORY = manifests.SECONDS, manifests.MEMORY
_COLUMNS = (
    *("clip", "audio", "video", "label", "speaker", "split", "start", "end", "audio_delay", "path", "file", "filename"),
    *("emotion", "speaker_id", "actor", "", " Label", "AUDIO", "Unnamed: 0", "clip"),
)
_CELLS = (
    *("", " ", "nan", "NA", "None", "-", "sad", "Sad ", "SAD", "1", "1.0", "01", "0,4", "0.4", "1e9", "-1", "inf"),
    *("a.wav", "folder/a.wav", "folder\\a.wav", "gone.wav", "folder", "../a.wav", "http://x/a.wav", "a" * 300),
    *("train", "Train", "dev", "=A1", "#N/A", "\u00fc", "\u65e5", "\0", '"', "a\nb", ";", "\t", "03.01.2026"),
)
_FORMS: dict[str, Callable[[str], bytes]] = {
    "comma": lambda text: text.replace("\t", ",").encode(),
    "comma, CRLF and byte order mark": lambda text: text.replace("\t", ",").replace("\n", "\r\n").encode("utf-8-sig"),
    "semicolon": lambda text: text.replace("\t", ";").encode(),
    "semicolon and decimal comma": lambda text: text.replace("0.", "0,").replace("\t", ";").encode("cp1252", "replace"),
    "sep= line": lambda text: ("sep=;\n" + text.replace("\t", ";")).encode("utf-16"),
    "tab": lambda text: text.encode(),
    "tab in UTF-16": lambda text: text.encode("utf-16"),
    "tab in UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "empty lines and columns": lambda text: ("\n\n" + text.replace("\n", "\t\t\n") + "\t\t\t\n").encode(),
}


def prepare(folder: Path) -> None:
    """Write a recording, and the two forms that `fit` documents."""
    soundfile.write(folder / "a.wav", [0.0, 0.1] * 4_000, 16_000)
    (folder / "folder").mkdir()
    soundfile.write(folder / "folder" / "a.wav", [0.0, 0.2] * 4_000, 16_000)
    (folder / "good").mkdir()
    (folder / "good" / "manifest.csv").write_bytes(_FORMS["comma"](_text(_rows())))


def good(folder: Path) -> list[Path]:
    return [folder / "good" / "manifest.csv"]


def damage(rng: Random, folder: Path) -> Damaged:
    rows = _rows()
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(_COLUMNS if row is rows[0] else _CELLS)
    if rng.random() < 0.2:
        rng.choice(rows).append(rng.choice(_CELLS))
    if rng.random() < 0.2:
        rows.insert(rng.randrange(len(rows)), list(rng.choice(rows)))
    form = rng.choice([*_FORMS, "parquet"])
    content = _parquet(rng, rows) if form == "parquet" else _FORMS[form](_text(rows))
    if rng.random() < 0.3:
        content = BYTES[rng.choice(sorted(BYTES))](rng, content)
    suffix = "parquet" if form == "parquet" else rng.choice(("csv", "csv", "csv", "tsv", "txt", "xlsx"))
    return Damaged(form, f"manifest.{suffix}", content)


def ways(folder: Path, path: Path) -> dict[str, Way]:
    return {"manifest": Way(lambda: manifests._quietly(lambda: reading.read_manifest(path)))}


def _rows() -> list[list[str]]:
    labels, speakers, splits = ("sad", "happy"), ("anna", "bert", "carl"), ("train", "val", "test")
    rows = [["clip", "audio", "label", "speaker", "split", "start", "end"]]
    rows += [[f"c{i}", "a.wav", labels[i % 2], speakers[i % 3], splits[i % 3], f"0.{i}", "0.4"] for i in range(3)]
    return rows


def _text(rows: list[list[str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def _parquet(rng: Random, rows: list[list[str]]) -> bytes:
    """Return the table with columns of the types that other programs store."""
    file = io.BytesIO()
    kinds = (pa.string(), pa.string(), pa.large_string(), pa.int64(), pa.float32(), pa.binary(), pa.bool_())
    kinds += (pa.timestamp("s"), pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.string()), pa.null())
    columns = []
    for number in range(len(rows[0])):
        values = [row[number] if number < len(row) else None for row in rows[1:]]
        array = pa.array(values, pa.string())
        try:
            columns.append(array.cast(rng.choice(kinds)) if rng.random() < 0.3 else array)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            columns.append(pa.array(range(len(values))))
    pa.parquet.write_table(pa.Table.from_arrays(columns, [str(name) for name in rows[0]]), file)
    return file.getvalue()
