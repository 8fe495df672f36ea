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


def test_file_format_and_round_trip(path):
    lock = LockFile(path)
    lock.pin(SUMS, "the record")
    lock.keep_members("a.zip", MEMBERS)
    content = json.loads(path.read_text())
    assert content["record"] == "https://doi.org/10.5281/zenodo.1188976"
    members = {"Actor_01/03-01-01-01-01-01-01.wav": "0000abcd 300", "x": "00000000 0"}
    assert content["archives"]["a.zip"] == {"size": 10, "md5": "a" * 32, "crc32_and_size": members}
    LockFile(path).pin({"c.zip": (3, "c" * 32)}, "the record")
    again = LockFile(path)
    assert again.sums == {**SUMS, "c.zip": (3, "c" * 32)}
    assert again.members == {"a.zip": MEMBERS}


@pytest.mark.parametrize("other", [(11, "a" * 32), (10, "c" * 32)])
def test_changed_checksum_is_rejected_and_nothing_is_written(path, other):
    LockFile(path).pin(SUMS, "the record")
    before = path.read_text(), path.stat().st_mtime_ns, path.stat().st_ino
    lock = LockFile(path)
    lock.pin(SUMS, "the record")
    with pytest.raises(ChecksumError, match=r"a\.zip .*10 bytes and md5 aaaa.*the mirror"):
        lock.pin({"new.zip": (1, "d" * 32), "a.zip": other}, "the mirror")
    assert lock.sums == SUMS
    assert (path.read_text(), path.stat().st_mtime_ns, path.stat().st_ino) == before


ARCHIVE = '{{"archives": {{"a.zip": {{"size": {size}, "md5": "a", "crc32_and_size": {members}}}}}}}'


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"archives": 3}', '{"archives": {"a.zip": {}}}'),
        ARCHIVE.format(size=1, members='{"x": "zz 3"}'),
        ARCHIVE.format(size=1, members='{"x": "00"}'),
        ARCHIVE.format(size="1e999", members="{}"),
        ARCHIVE.format(size="[" * 100_000, members="{}"),
    ],
)
def test_damaged_file_is_an_error(path, content):
    path.write_text(content)
    with pytest.raises(DataError, match=r"ravdess\.lock\.json"):
        LockFile(path)
    assert path.read_text() == content
