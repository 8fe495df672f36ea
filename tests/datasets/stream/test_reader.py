import json
import shutil
import sys

import pytest

from crossmodal.datasets.stream.reader import check_whole, is_remote, part_of, read_about
from crossmodal.errors import CorpusNotFoundError, DataError, MissingExtraError
from tests.datasets.stream.tiny_stream import LABELS, tiny_about, tiny_split, write_tiny_stream


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    return write_tiny_stream(folder / "stream", folder)


@pytest.fixture
def stream(whole, tmp_path):
    """Return a copy, which a test may damage."""
    return shutil.copytree(whole, tmp_path / "copy")


@pytest.mark.parametrize("prefix", ["", "local:"])
def test_description_round_trip(whole, prefix):
    about = read_about(f"{prefix}{whole}")
    assert about == tiny_about(tiny_split())
    assert about.labels == LABELS


def test_relative_path(whole, monkeypatch):
    monkeypatch.chdir(whole.parent)
    assert read_about("stream") == tiny_about(tiny_split())


def test_missing_stream(tmp_path):
    for where in ("nothing", "."):
        with pytest.raises(CorpusNotFoundError, match="--to litdata"):
            read_about(str(tmp_path / where))
    assert list(tmp_path.iterdir()) == []


def test_missing_remote_stream(tmp_path):
    with pytest.raises(DataError, match=r"local:.*nothing"):
        read_about(f"local:{tmp_path / 'nothing'}")


def test_other_version_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr("crossmodal.datasets.stream.reader.VERSION", 2)
    write_tiny_stream(tmp_path / "stream", tmp_path, train=1, val=1, test=1)  # has version 1 by default
    with pytest.raises(DataError, match=r"version 1.*version 2"):
        read_about(str(tmp_path / "stream"))


def test_damaged_description(stream):
    (stream / "about" / "chunk-0-0.bin").write_bytes(b"\0" * 200)
    with pytest.raises(DataError, match="litdata"):
        read_about(str(stream))


def test_intact_stream(whole):
    check_whole(str(whole))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_truncated_or_missing_chunk(stream, split):
    chunk = sorted((stream / split).glob("*.bin"))[1]
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1])
    with pytest.raises(DataError, match=rf"{split}/{chunk.name}"):
        check_whole(str(stream))
    chunk.unlink()
    with pytest.raises(DataError, match=chunk.name):
        check_whole(str(stream))


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"chunks": [{}]})])
def test_damaged_index(stream, content):
    (stream / "val" / "index.json").write_text(content)
    with pytest.raises(DataError, match="damaged"):
        check_whole(str(stream))


def test_part_of_and_is_remote():
    assert part_of("s3://bucket/folder/", "val") == "s3://bucket/folder/val"
    assert not is_remote("folder") and is_remote("gs://bucket/folder")


def test_error_names_the_missing_extra(whole, monkeypatch):
    monkeypatch.setitem(sys.modules, "litdata", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crossmodal\[stream\]'"):
        read_about(str(whole))
