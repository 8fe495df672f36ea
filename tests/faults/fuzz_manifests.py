"""Damaged tables, archives and stored files, and their readers."""

import contextlib
import csv
import io
import json
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import soundfile
import torch

from crossmodal.datasets.audit import corpus as corpus_check
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.download.lock_file import LOCK_FILE
from crossmodal.datasets.manifest_table import write_rows
from crossmodal.datasets.quarantine import QUARANTINE_FILE
from crossmodal.datasets.stored_array import check_array, write_array
from crossmodal.inference.model_config import CONFIG, WEIGHTS
from crossmodal.models import AudioClassifier
from crossmodal.models.serialization import load_model, save_model
from crossmodal.models.weights import read_state_dict
from crossmodal.pipeline.checkpoints import verify_checkpoint
from crossmodal.storage import write_json
from tests.faults import reading_files as reading
from tests.faults.attempts import Damaged, Way
from tests.faults.mutations import BYTES
from tests.in_this_process import in_this_process

SECONDS = 10.0  # for one file
MEMORY = 512.0  # MB
_GOOD = "good"
_FIELDS = (
    *("", " ", "x" * 100_000, "nan", "inf", "-inf", "-1", "1e308", "-1e308", "1e-400", "9" * 5_000),
    *("../a.wav", "/etc/passwd", "a.wav/..", "./a.wav", "link.wav", "folder", "a.wav\0", "gone.wav", "~"),
    *("C:\\a.wav", "\\\\a\\b", "\0", "\ufeff", "\u202e", "\U0001f600", "e\u0301", "=1+1", "<b>", "{}", "[]", "null"),
    *('"', '"""', "'", ";", ",", "\t", "\n", "\r", "a\r\nb", "----------------", "." * 300, "a" * 300 + ".wav", "None"),
    *("train", "TEST", "dev", "03-01-06-01-02-01-12.wav"),
)
_JSON = (
    *(None, True, "", "x", "1", -1, 0, 1, 10**30, 1e308, float("nan"), float("inf"), [], {}, [[]], [None], {"a": {}}),
    *("x" * 100_000, "\0", "../x", "00000000 1", "zz 1", "1", " ", [1, 2], {"size": "x"}),
)
_TEXTS: dict[str, bytes] = {
    "empty": b"",
    "a line break": b"\n",
    "NUL bytes": bytes(1_000),
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a number of 5,000 digits": b'{"archives": ' + b"9" * 5_000 + b"}",
    "UTF-16": '{"archives": {}}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"archives": {}}',
    "an endless field": b'clip,audio,label,speaker\n"' + b"a" * 1_000_000,
    "a million commas": b"clip,audio,label,speaker\n" + b"," * 1_000_000,
    "fifty thousand columns": b"clip,audio,label,speaker," + b",".join(b"c%d" % one for one in range(50_000)) + b"\n",
    "fifty thousand rows": b"clip,audio,label,speaker\n"
    + b"".join(b"c%d,a.wav,l%d,s\n" % (i, i % 3) for i in range(50_000)),
    "only a header": b"clip,audio,label,speaker\n",
    "CR line breaks": b"clip,audio,label,speaker\ra,a.wav,x,s\rb,a.wav,y,s\r",
    "mixed line breaks": b"clip,audio,label,speaker\r\na,a.wav,x,s\nb,a.wav,y,s\r",
    "repeated columns": b"clip,clip,audio,label,speaker,speaker\na,a,a.wav,x,s,s\nb,b,a.wav,y,s,s\n",
    "Latin-1": "clip,audio,label,speaker\na,a.wav,fröhlich,s\nb,a.wav,müde,s\n".encode("latin-1"),
}


def prepare(folder: Path) -> None:
    place, rng = folder / _GOOD, np.random.default_rng(0)
    place.mkdir()
    for where in (folder, place):
        soundfile.write(where / "a.wav", 0.1 * rng.standard_normal(8_000), 16_000)
        (where / "folder").mkdir()
        (where / "link.wav").symlink_to("/etc/passwd")
    _write_tables(place, rng)
    _write_archive(place, rng)
    known = {"file": "a.wav", "wanted": "waveforms", "reason": "cut", "lasting": True, "sha256": "0", "key": "k"}
    write_json(place / QUARANTINE_FILE, [known])
    write_json(place / "hashes.json", {"a.wav": [100, 1, "0" * 64]})
    write_array(place / "array.npy", rng.normal(size=(4, 50)).astype(np.float32))
    np.save(place / "features.npy", rng.normal(size=(4, 50)).astype(np.float32))
    ClipTensors.save(place / "tensors.safetensors", ["a", "b"], {"x": np.ones((2, 3), np.float32)}, excluded=[])
    _write_model(place, ["sad", "happy"])


def _write_tables(place: Path, rng: np.random.Generator) -> None:
    labels, speakers, splits = ("sad", "happy"), ("anna", "bert", "carl"), ("train", "val", "test")
    rows: list[dict[str, object]] = [
        {"clip": f"c{i}", "audio": "a.wav", "label": labels[i % 2], "speaker": speakers[i % 3], "split": splits[i % 3]}
        | {"start": 0.1 * (i % 2), "end": 0.4, "audio_delay": 0.01}
        for i in range(12)
    ]
    for suffix in ("csv", "parquet"):
        write_rows(place / f"manifest.{suffix}", rows)
    features = {"clip": [f"01-01-0{i % 8 + 1}-01-01-01-01" for i in range(16)], "success": [1] * 16}
    features |= {f"AU{i}": rng.normal(size=16).tolist() for i in range(3)}
    pa.csv.write_csv(pa.table(features), place / "features.csv")
    pa.parquet.write_table(pa.table(features), place / "features.parquet")


def _write_archive(place: Path, rng: np.random.Generator) -> None:
    members = [f"Actor_01/03-01-0{i}-01-01-01-01.wav" for i in range(1, 5)]
    with zipfile.ZipFile(place / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in members:
            archive.writestr(name, rng.bytes(500) * 2)
    lines = {name: f"{number:08x} 1000" for number, name in enumerate(members)}
    write_json(place / LOCK_FILE, {"archives": {"a.zip": {"size": 5, "md5": "0" * 32, "crc32_and_size": lines}}})


def _write_model(place: Path, labels: list[str]) -> None:
    model = AudioClassifier(
        num_classes=len(labels), encoder="dense", encoder_kwargs={"hidden_size": 8, "num_layers": 1}
    )
    save_model(model, place / WEIGHTS)
    torch.save({"state_dict": {"weight": torch.ones(3)}, "epoch": 1}, place / "last.ckpt")
    config = {"format": 1, "model": model.config, "labels": labels, "sample_rate": 16_000, "temperature": 1.0}
    write_json(place / CONFIG, config)


def good(folder: Path) -> list[Path]:
    return [path for path in _files(folder / _GOOD) if path.is_file() and path.name not in ("a.wav", "link.wav")]


def damage(rng: Random, folder: Path) -> Damaged:
    tables = [path for path in good(folder) if path.suffix in (".csv", ".parquet")]
    source = rng.choice([*tables, *tables, *good(folder)])
    content = source.read_bytes()
    structured = {".csv": _other_field, ".json": _other_json, ".parquet": _other_column}.get(source.suffix)
    roll = rng.random()
    if structured and roll < 0.5:
        return Damaged(f"another value in {source.suffix}", source.name, structured(rng, content))
    if 0.5 <= roll < 0.7 and source.suffix in (".csv", ".json"):
        what = rng.choice(sorted(_TEXTS))
        return Damaged(what, source.name, _TEXTS[what])
    if 0.7 <= roll < 0.75:
        return Damaged("another format's name", source.name, rng.choice(good(folder)).read_bytes())
    kind = rng.choice(sorted(BYTES))
    return Damaged(kind, source.name, BYTES[kind](rng, content))


def ways(folder: Path, path: Path) -> dict[str, Way]:
    corpus_check.map_in_processes = in_this_process
    kind = path.name if path.suffix == ".json" else path.suffix
    if path.suffix in (".csv", ".parquet"):
        kind = path.stem
    readers: dict[str, dict[str, Callable[[], object]]] = {
        "manifest": {"manifest": lambda: reading.read_manifest(path)},
        "features": {"face features": lambda: reading.read_features(path, reading.empty(folder / "cache"))},
        ".npy": {
            "cache": lambda: check_array(reading.copied(path, folder)),
            "features of .npy": lambda: reading.read_array(path, folder),
        },
        ".zip": {"archive": lambda: reading.extract(path, reading.empty(folder / "extracted"))},
        LOCK_FILE: {
            "lock file": lambda: reading.read_lock(path),
            "data check": lambda: reading.check_folder(path, reading.empty(folder / "checked")),
        },
        QUARANTINE_FILE: {"quarantine": lambda: reading.read_quarantine(path, reading.empty(folder / "quarantined"))},
        "hashes.json": {"hashes": lambda: reading.remember_sums(path, reading.empty(folder / "remembered"))},
        CONFIG: {
            "model folder's config": lambda: reading.load_model_with(
                path, folder / _GOOD, reading.empty(folder / "model")
            )
        },
        ".safetensors": {
            "tensors": lambda: reading.read_tensors(path),
            "model": lambda: load_model(AudioClassifier, path),
            "weights": lambda: read_state_dict(path),
            "model folder": lambda: reading.load_model_with(path, folder / _GOOD, reading.empty(folder / "model")),
        },
        ".ckpt": {"foreign weights": lambda: read_state_dict(path), "checkpoint": lambda: verify_checkpoint(path)},
    }
    return {name: Way(lambda read=read: _quietly(read)) for name, read in readers[kind].items()}  # type: ignore[misc]


@cache
def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _quietly(read: Callable[[], object]) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        read()


def _other_field(rng: Random, content: bytes) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode())))
    for _ in range(rng.choice((1, 1, 3, 20))):
        row = rng.choice(rows)
        column = rng.randrange(len(row))
        row[column] = rng.choice([*_FIELDS, rng.choice(rng.choice(rows))])
    written = io.StringIO()
    csv.writer(written, quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))).writerows(rows)
    return written.getvalue().encode(errors="surrogatepass")


def _other_column(rng: Random, content: bytes) -> bytes:
    table = pa.parquet.read_table(io.BytesIO(content))
    column, rows = rng.randrange(table.num_columns), table.num_rows
    name = table.column_names[column]
    values: Any = rng.choice(
        [
            *([value] * rows for value in (None, [1.0], {"a": 1}, b"\xff", float("nan"), 10**18, True)),
            [rng.choice(_FIELDS) for _ in range(rows)],
            pa.array(range(rows), pa.timestamp("s")),
        ]
    )
    changed = table.set_column(column, rng.choice((name, name, "clip", "", "AU0", " label")), pa.array(values))
    file = io.BytesIO()
    pa.parquet.write_table(changed, file)
    return file.getvalue()


def _other_json(rng: Random, content: bytes) -> bytes:
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 3))):
        place, key = {"": value}, ""
        while isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:  # type: ignore[index]
            place = place[key]  # type: ignore[index, assignment]
            key = rng.choice(list(place if isinstance(place, dict) else range(len(place))))
        if isinstance(place, dict) and rng.random() < 0.2:
            del place[key]
        else:
            place[key] = rng.choice(_JSON)  # type: ignore[index]
        value = place.get("", value) if key == "" else value
    return json.dumps(value).encode()
