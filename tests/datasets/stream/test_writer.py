import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from crossmodal.datasets.stream import writer
from crossmodal.datasets.stream.reader import check_whole, read_about
from crossmodal.datasets.stream.writer import write_stream
from crossmodal.errors import ConfigError, DataError
from crossmodal.storage import cache_dir
from tests.datasets.stream.tiny_stream import LABELS, tiny_about, tiny_arrays, tiny_split, write_tiny_stream

# Writes a stream slowly, and prints a line when it has started.
_SLOW_WRITER = """
import sys, time
from pathlib import Path
from crossmodal.datasets.stream import writer
from tests.datasets.stream.tiny_stream import write_tiny_stream
read = writer._ClipItems.__call__
def slow(self, index):
    if index == 5:
        print("writing", flush=True)
        time.sleep(60)
    return read(self, index)
writer._ClipItems.__call__ = slow
write_tiny_stream(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.bin")}


def items(folder):
    from litdata import StreamingDataset

    dataset = StreamingDataset(str(folder))
    return [dataset[index] for index in range(len(dataset))]


@pytest.fixture
def arrays(tmp_path):
    folder = tmp_path / "arrays"
    folder.mkdir()
    return folder


def test_every_clip_is_written(tmp_path, arrays):
    split = tiny_split()
    corpus = tiny_arrays(split, arrays)
    write_stream(split, corpus, tiny_about(split), str(tmp_path / "stream"))
    for name, clips in split.items():
        written = {item["clip"]: item for item in items(tmp_path / "stream" / name)}
        assert written.keys() == {clip.clip for clip in clips}
        for clip in clips:
            item = written[clip.clip]
            assert (item["actor"], item["label"]) == (clip.actor, LABELS.index(clip.label) if clip.label else -1)
            assert item["waveform"].dtype == np.float32 and item["faces"].dtype == np.uint8
            assert np.array_equal(item["waveform"], np.load(corpus.waveforms[clip.clip]))
            assert np.array_equal(item["faces"], np.load(corpus.faces[clip.clip]))


def test_only_training_clips_are_shuffled(tmp_path, arrays):
    write_tiny_stream(tmp_path / "stream", arrays)
    order = {name: [item["clip"] for item in items(tmp_path / "stream" / name)] for name in ("train", "val", "test")}
    assert order["val"] == sorted(order["val"]) and order["test"] == sorted(order["test"])
    assert order["train"] != sorted(order["train"])


def test_writing_is_deterministic(tmp_path, arrays):
    one, other = (contents(write_tiny_stream(tmp_path / name, arrays)) for name in ("one", "other"))
    assert one == other


def test_number_and_size_of_chunks(tmp_path, arrays, monkeypatch):
    monkeypatch.setattr(writer, "_LEAST_CHUNKS", 4)
    write_tiny_stream(tmp_path / "few", arrays)
    assert len(list((tmp_path / "few" / "train").glob("*.bin"))) == 5  # of 23 // 4 clips, and one of the rest
    monkeypatch.setattr(writer, "_CHUNK_BYTES", 30_000)  # a clip has 10,000
    write_tiny_stream(tmp_path / "many", arrays)
    sizes = [path.stat().st_size for path in (tmp_path / "many" / "train").glob("*.bin")]
    assert len(sizes) > 5 and max(sizes) < 45_000


def test_no_temporary_files_remain(tmp_path, arrays, monkeypatch):
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (tmp_path / "out").mkdir()
    write_tiny_stream(tmp_path / "out" / "stream", arrays)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stream"]
    assert list(home.iterdir()) == list(temporary.iterdir()) == []


def test_existing_target_is_not_overwritten(tmp_path, arrays):
    (tmp_path / "stream").mkdir()
    with pytest.raises(ConfigError, match=r"stream already exists"):
        write_tiny_stream(tmp_path / "stream", arrays)
    assert list((tmp_path / "stream").iterdir()) == []


def test_failed_writer_leaves_nothing(tmp_path, arrays):
    split = tiny_split()
    corpus = tiny_arrays(split, arrays)
    corpus.faces["val 03"].unlink()
    with pytest.raises(FileNotFoundError):
        write_stream(split, corpus, tiny_about(split), str(tmp_path / "out" / "stream"))
    assert list((tmp_path / "out").iterdir()) == []


def test_killed_writer_leaves_no_stream_and_the_next_one_cleans_up(tmp_path, arrays):
    target = tmp_path / "out" / "stream"
    environment = {**os.environ, "CROSSMODAL_CACHE": str(cache_dir())}
    command = [sys.executable, "-c", _SLOW_WRITER, str(target), str(arrays)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path.cwd())
    try:
        assert writer.stdout.readline() == "writing\n"
        with pytest.raises(ConfigError, match="Another process"):
            write_tiny_stream(target, arrays)
    finally:
        writer.kill()
        writer.communicate()
    assert [path.name for path in target.parent.iterdir()] == [".stream.partial"]
    write_tiny_stream(target, arrays)
    assert [path.name for path in target.parent.iterdir()] == ["stream"]
    check_whole(str(target))


def test_several_processes_are_rejected(tmp_path, arrays, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    started = time.monotonic()
    with pytest.raises(ConfigError, match="WORLD_SIZE"):
        write_tiny_stream(tmp_path / "stream", arrays)
    assert time.monotonic() - started < 10


def upload(tmp_path, arrays, monkeypatch, target):
    """Write to a folder as if it were a URL."""
    monkeypatch.setattr(writer, "is_remote", lambda target: True)
    split = tiny_split()
    write_stream(split, tiny_arrays(split, arrays), tiny_about(split), str(target), num_processes=2)


def test_url_is_written_by_litdata_with_the_description_last(tmp_path, arrays, monkeypatch):
    calls = []

    def optimize(fn, inputs, output_dir, **settings):
        calls.append((output_dir, [fn(index) for index in inputs], settings))
        Path(os.environ["DATA_OPTIMIZER_CACHE_FOLDER"]).mkdir(exist_ok=True)

    monkeypatch.setattr("litdata.optimize", optimize)
    split = tiny_split()
    write_stream(split, tiny_arrays(split, arrays), tiny_about(split), "s3://bucket/corpus", num_processes=3)
    assert [where for where, _, _ in calls] == [f"s3://bucket/corpus/{name}" for name in (*split, "about")]
    assert [item["clip"] for item in calls[1][1]] == [clip.clip for clip in split["val"]]
    assert json.loads(calls[-1][1][0]["json"])["num_clips"] == {"train": 23, "val": 11, "test": 7}
    assert [settings["num_workers"] for *_, settings in calls] == [3, 3, 3, 1]
    assert all(settings["keep_data_ordered"] and not settings["reorder_files"] for *_, settings in calls)
    assert "DATA_OPTIMIZER_CACHE_FOLDER" not in os.environ


def test_errors_of_litdata_are_converted(tmp_path, arrays, monkeypatch):
    def optimize(*_, **__):
        raise RuntimeError("no credentials")

    monkeypatch.setattr("litdata.optimize", optimize)
    with pytest.raises(DataError, match=r"s3://bucket/corpus.*no credentials"):
        split = tiny_split()
        write_stream(split, tiny_arrays(split, arrays), tiny_about(split), "s3://bucket/corpus")


@pytest.mark.slow
def test_writer_of_litdata_gives_the_same_stream(tmp_path, arrays, monkeypatch):
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    write_tiny_stream(tmp_path / "ours", arrays)
    upload(tmp_path, arrays, monkeypatch, tmp_path / "theirs")
    for name in ("train", "val", "test"):
        ours, theirs = (items(tmp_path / whose / name) for whose in ("ours", "theirs"))
        assert [item["clip"] for item in ours] == [item["clip"] for item in theirs]
        assert all(np.array_equal(a["waveform"], b["waveform"]) for a, b in zip(ours, theirs, strict=True))
    monkeypatch.undo()
    assert read_about(str(tmp_path / "theirs")) == read_about(str(tmp_path / "ours"))
    assert list(temporary.iterdir()) == []
