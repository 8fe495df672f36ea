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
    """A copy that may be damaged."""
    return shutil.copytree(whole, tmp_path / "copy")


@pytest.mark.parametrize("prefix", ["", "local:"])
def test_what_a_stream_holds_is_read_back(whole, prefix):
    about = read_about(f"{prefix}{whole}")
    assert about == tiny_about(tiny_split())
    assert about.labels == LABELS


def test_a_stream_may_be_given_relative_to_where_one_is(whole, monkeypatch):
    monkeypatch.chdir(whole.parent)
    assert read_about("stream") == tiny_about(tiny_split())


def test_no_stream_is_told_and_nothing_is_made_of_it(tmp_path):
    for where in ("nothing", "."):
        with pytest.raises(CorpusNotFoundError, match=r"There is no stream in .*data prepare .* --to litdata"):
            read_about(str(tmp_path / where))
    assert list(tmp_path.iterdir()) == []


def test_a_remote_place_without_a_stream_is_told(tmp_path):
    with pytest.raises(DataError, match=r"What local:.*nothing holds cannot be read"):
        read_about(f"local:{tmp_path / 'nothing'}")


def test_another_version_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("crossmodal.datasets.stream.reader.VERSION", 2)
    write_tiny_stream(tmp_path / "stream", tmp_path, train=1, val=1, test=1)  # says version 1, by its default
    with pytest.raises(DataError, match=r"is of version 1, and this is crossmodal for version 2"):
        read_about(str(tmp_path / "stream"))


def test_what_is_said_of_it_may_be_damaged(stream):
    (stream / "about" / "chunk-0-0.bin").write_bytes(b"\0" * 200)
    with pytest.raises(DataError, match="cannot be read"):
        read_about(str(stream))


def test_a_whole_stream_passes(whole):
    check_whole(str(whole))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_chunk_that_is_cut_or_gone_is_told(stream, split):
    chunk = sorted((stream / split).glob("*.bin"))[1]
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1])
    with pytest.raises(DataError, match=rf"{split}/{chunk.name} is cut short"):
        check_whole(str(stream))
    chunk.unlink()
    with pytest.raises(DataError, match=rf"is damaged .*{chunk.name}"):
        check_whole(str(stream))


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"chunks": [{}]})])
def test_a_damaged_index_is_told(stream, content):
    (stream / "val" / "index.json").write_text(content)
    with pytest.raises(DataError, match="is damaged"):
        check_whole(str(stream))


def test_the_parts_of_a_stream():
    assert part_of("s3://bucket/folder/", "val") == "s3://bucket/folder/val"
    assert not is_remote("folder") and is_remote("gs://bucket/folder")


def test_without_the_extra_its_name_is_told(whole, monkeypatch):
    monkeypatch.setitem(sys.modules, "litdata", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crossmodal\[stream\]'"):
        read_about(str(whole))
