import json

import pytest

from crossmodal.datasets.download.archive import Member
from crossmodal.datasets.download.lock_file import LockFile
from crossmodal.errors import ChecksumError, DataError

SUMS = {"a.zip": (10, "a" * 32), "b.zip": (20, "b" * 32)}
MEMBERS = [Member("Actor_01/03-01-01-01-01-01-01.wav", 300, 0x0000ABCD), Member("x", 0, 0)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ravdess.lock.json"


def test_round_trip(path):
    lock = LockFile(path)
    assert lock.pinned("a.zip") is None
    lock.pin(SUMS, "the record")
    lock.keep_members("a.zip", MEMBERS)
    again = LockFile(path)
    assert {name: again.pinned(name) for name in SUMS} == SUMS
    assert again.members("a.zip") == MEMBERS
    assert again.members("b.zip") is None


def test_file_format(path):
    LockFile(path).pin(SUMS, "the record")
    lock = LockFile(path)
    lock.keep_members("a.zip", MEMBERS)
    content = json.loads(path.read_text())
    assert content["record"] == "https://doi.org/10.5281/zenodo.1188976"
    assert content["archives"]["a.zip"] == {
        "size": 10,
        "md5": "a" * 32,
        "crc32_and_size": {"Actor_01/03-01-01-01-01-01-01.wav": "0000abcd 300", "x": "00000000 0"},
    }


@pytest.mark.parametrize("other", [(11, "a" * 32), (10, "c" * 32)])
def test_changed_checksum_is_rejected_and_nothing_is_pinned(path, other):
    LockFile(path).pin(SUMS, "the record")
    before = path.read_text()
    lock = LockFile(path)
    with pytest.raises(ChecksumError, match=r"a\.zip .*10 bytes and md5 aaaa.*the mirror"):
        lock.pin({"new.zip": (1, "d" * 32), "a.zip": other}, "the mirror")
    assert lock.pinned("new.zip") is None
    assert path.read_text() == before


def test_archives_can_be_added(path):
    LockFile(path).pin(SUMS, "the record")
    LockFile(path).pin({"c.zip": (3, "c" * 32)}, "the record")
    assert LockFile(path).pinned("a.zip") == SUMS["a.zip"]
    assert LockFile(path).pinned("c.zip") == (3, "c" * 32)


def test_unchanged_file_is_not_written(path):
    LockFile(path).pin(SUMS, "the record")
    path.chmod(0o444)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    LockFile(path).pin(SUMS, "the record")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"archives": 3}',
        '{"archives": {"a.zip": {}}}',
        '{"archives": {"a.zip": {"size": 1, "md5": "a", "crc32_and_size": {"x": "zz 3"}}}}',
        '{"archives": {"a.zip": {"size": 1, "md5": "a", "crc32_and_size": {"x": "00"}}}}',
    ],
)
def test_damaged_file_is_an_error(path, content):
    path.write_text(content)
    with pytest.raises(DataError, match=r"ravdess\.lock\.json"):
        LockFile(path)
    assert path.read_text() == content


@pytest.mark.parametrize("size", ["1e999", "[" * 100_000])
def test_impossible_numbers_and_depths_are_an_error(path, size):
    path.write_text(f'{{"archives": {{"a.zip": {{"size": {size}, "md5": "a", "crc32_and_size": {{}}}}}}}}')
    with pytest.raises(DataError, match=r"ravdess\.lock\.json"):
        LockFile(path)


def test_members_of_all_archives(path):
    lock = LockFile(path)
    lock.pin(SUMS, "the record")
    lock.keep_members("a.zip", MEMBERS[:1])
    lock.keep_members("b.zip", MEMBERS[1:])
    assert LockFile(path).all_members() == MEMBERS
