import hashlib
import json
import os
import stat
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal import storage
from crossmodal.storage import (
    FileHashes,
    atomic_path,
    cache_dir,
    content_key,
    hash_file,
    locked,
    paths_below,
    read_json,
    remove_leftovers,
    write_json,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@given(JSON, JSON)
def test_keys_are_equal_if_and_only_if_the_json_is_equal(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (content_key(value=one) == content_key(value=other)) == same


def test_key_does_not_depend_on_order_or_process():
    assert content_key(a=1, b={"x": 1, "y": 2}) == content_key(b={"y": 2, "x": 1}, a=1)
    assert content_key(a=1) != content_key(b=1)
    assert content_key(path=Path("a")) == content_key(path="a") != content_key(path=Path("b"))
    assert content_key() == hashlib.sha256(b"{}").hexdigest()[:32]


def test_a_file_name_that_is_not_utf_8_can_be_stored(folder):
    value = {"file": "\udcff\udce9.wav", "name": "\u65e5\U0001f600"}
    write_json(folder / "names.json", value)
    assert read_json(folder / "names.json") == value


@given(JSON)
def test_json_round_trip(folder, value):
    write_json(folder / "deeper" / "value.json", value)
    assert read_json(folder / "deeper" / "value.json") == value


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_damaged_json_is_none(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    assert read_json(tmp_path / "a.json") is None
    assert read_json(tmp_path / "gone.json") is None


def test_file_exists_after_the_block_and_not_before(tmp_path):
    path = tmp_path / "deeper" / "a.bin"
    with atomic_path(path) as one, atomic_path(path) as other:
        assert one != other
        one.write_bytes(b"one")
        other.write_bytes(b"other")
        assert not path.exists()
        assert (one.parent, one.suffix) == (path.parent, ".tmp")  # not the suffix of a media file
    assert path.read_bytes() == b"one"  # the outer block ends last
    assert list(path.parent.iterdir()) == [path]
    (tmp_path / "b").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)  # follows the umask


def test_failed_block_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="power cut"), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("power cut")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    for name in (".a.json.x1.tmp", ".a.json.x2.tmp", ".b.json.x1.tmp", ".a.json"):
        (tmp_path / name).touch()
    remove_leftovers(path)  # of this path only
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", ".b.json.x1.tmp", ".a.json"}


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 21) + 5])
def test_hash_of_a_file(tmp_path, size):
    (tmp_path / "a").write_bytes(b"x" * size)
    assert hash_file(tmp_path / "a") == hashlib.sha256(b"x" * size).hexdigest()


def test_unchanged_file_is_hashed_once_across_runs(tmp_path, monkeypatch):
    path, memory = tmp_path / "a", tmp_path / "hashes.json"
    path.write_bytes(b"one")
    hashes = FileHashes(memory)
    digest = hashes[path]
    hashes.save()
    read = []
    monkeypatch.setattr(storage, "hash_file", lambda path: read.append(path) or hash_file(path))
    again = FileHashes(memory)
    assert again[path] == again[path] == digest == hashlib.sha256(b"one").hexdigest()
    assert read == []
    path.write_bytes(b"three")
    assert again[path] == hashlib.sha256(b"three").hexdigest()
    path.write_bytes(b"other")  # of the same size
    os.utime(path, (1, 1))
    assert again[path] == hashlib.sha256(b"other").hexdigest()
    assert read == [path, path]


def test_hashes_of_concurrent_processes_are_merged(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    memory = tmp_path / "hashes.json"
    one, other = FileHashes(memory), FileHashes(memory)
    _ = one[tmp_path / "a"], other[tmp_path / "b"]
    assert one.knows(tmp_path / "a")
    assert not one.knows(tmp_path / "b")
    assert one.knows(tmp_path / "nothing")  # missing files need no hash
    (tmp_path / ".hashes.json.x1.tmp").write_text("half")  # of a killed run
    one.save()
    other.save()
    assert {Path(name).name for name in read_json(memory)} == {"a", "b"}
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    "content", ["{", "[]", "[1]", "null", '{"x": 3}', '{"FILE": 3}', '{"FILE": []}', "[" * 100_000]
)
def test_damaged_hash_file_is_replaced(tmp_path, content):
    path, memory = tmp_path / "a", tmp_path / "hashes.json"
    path.write_bytes(b"one")
    memory.write_text(content.replace("FILE", str(path.resolve())))
    for _ in range(2):
        hashes = FileHashes(memory)
        assert hashes[path] == hashlib.sha256(b"one").hexdigest()
        hashes.save()
    assert FileHashes(memory).knows(path)


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CROSSMODAL_CACHE", "~/somewhere")
    assert cache_dir() == Path.home() / "somewhere"
    monkeypatch.delenv("CROSSMODAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "crossmodal"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "crossmodal"


def test_lock_is_exclusive_and_released_after_the_block(tmp_path):
    path = tmp_path / "deeper" / "a.lock"
    with pytest.raises(KeyError), locked(path) as first, locked(path, wait=False) as second:
        assert (first, second) == ("held", "taken")
        raise KeyError
    with locked(path, wait=False) as third:
        assert third == "held"


def test_same_lock_waits_and_prints_a_message(tmp_path, monkeypatch):
    made, printed, has_printed = [], [], threading.Event()

    def make(path):
        with locked(path, message="another run makes the same"):
            made.append(path.stem)

    monkeypatch.setattr(storage, "print", lambda line, **_: (printed.append(line), has_printed.set()), raising=False)
    with locked(tmp_path / "locks" / "key.lock"):
        make(tmp_path / "locks" / "other.lock")  # does not wait
        assert made == ["other"]
        another_run = threading.Thread(target=make, args=[tmp_path / "locks" / "key.lock"])
        another_run.start()
        assert has_printed.wait(60)
        assert made == ["other"]
    another_run.join(60)
    assert made == ["other", "key"]
    assert printed == ["another run makes the same"]


def test_block_runs_without_lock_support(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise NotImplementedError

    monkeypatch.setattr(storage.FileLock, "acquire", refuse)
    with locked(tmp_path / "a.lock") as state:
        assert state == "none"
    hashes = FileHashes(tmp_path / "hashes.json")
    (tmp_path / "a").write_bytes(b"a")
    hashes[tmp_path / "a"]
    hashes.save()
    assert FileHashes(tmp_path / "hashes.json").knows(tmp_path / "a")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
class TestPathsBelow:
    @staticmethod
    def files(root):
        return [path.relative_to(root).as_posix() for path in paths_below(root) if path.is_file()]

    def test_links_to_folders_are_followed_and_each_folder_is_searched_once(self, tmp_path):
        root, store = tmp_path / "root", tmp_path / "store"
        for path in (root / "real" / "a.wav", store / "deep" / "b.wav", store / "c.wav"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        links = {"again": root / "real", "out": store, "out2": store, "real/loop": root, "self": root / "self"}
        links |= {"gone": tmp_path / "gone", "c.wav": store / "c.wav"}  # a broken link, and a link to a file
        for name, target in links.items():
            (root / name).symlink_to(target)
        (store / "back").symlink_to(root)
        assert self.files(root) == ["c.wav", "out/c.wav", "out/deep/b.wav", "real/a.wav"]
        assert root / "again" in paths_below(root)
        (tmp_path / "entry").symlink_to(root)
        assert self.files(tmp_path / "entry") == self.files(root)

    def test_metadata_of_macos_is_skipped(self, tmp_path):
        for name in ("a.wav", "._a.wav", "__MACOSX/b.wav", "deeper/__MACOSX/c.wav", "deeper/._d.wav", "deeper/e.wav"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        assert self.files(tmp_path) == ["a.wav", "deeper/e.wav"]
        assert self.files(tmp_path / "__MACOSX") == ["b.wav"]  # it was asked for
