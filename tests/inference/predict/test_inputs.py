import io
import os
import shutil
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from crossmodal.inference.predict.inputs import find_inputs


@pytest.fixture
def find(tmp_path_factory):
    return lambda *words: find_inputs([str(word) for word in words], tmp_path_factory.mktemp("stdin"))


def paths(inputs):
    return [one.path for one in inputs]


def test_folders_globs_and_files(folder, find, monkeypatch):
    wav, mp4 = folder / "a.wav", folder / "deeper" / "B.MP4"
    assert paths(find(folder)) == [wav, mp4]
    assert paths(find(folder / "*.wav")) == [wav]
    assert paths(find(folder / "**" / "*.MP4")) == [mp4]
    assert paths(find(folder / "dee*")) == [mp4]  # a glob can match a folder
    assert paths(find(mp4, wav)) == [mp4, wav]
    assert paths(find(folder / "notes.txt")) == [folder / "notes.txt"]  # any suffix, if it is named
    assert paths(find(folder, wav, folder / "*.wav", wav)) == [wav, mp4]  # each once
    shutil.copy(wav, folder / "take [1].wav")
    assert paths(find(folder / "take [1].wav")) == [folder / "take [1].wav"]  # no glob, because it exists
    (folder / "take [1].wav").unlink()
    monkeypatch.chdir(folder)
    assert paths(find("*.wav", ".")) == [Path("a.wav"), Path("deeper/B.MP4")]


def test_hidden_files_in_a_folder_are_skipped(folder, find):
    shutil.copy(folder / "a.wav", folder / "._a.wav")
    assert folder / "._a.wav" not in paths(find(folder))
    assert paths(find(folder / "._a.wav")) == [folder / "._a.wav"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_linked_folders_are_searched_once_and_metadata_of_macos_is_skipped(folder, find, tmp_path):
    disk = tmp_path / "disk"
    (folder / "__MACOSX").mkdir()
    disk.mkdir()
    for path in (disk / "c.wav", disk / "._c.wav", folder / "__MACOSX" / "d.wav"):
        shutil.copy(folder / "a.wav", path)
    (folder / "linked").symlink_to(disk)
    (folder / "loop").symlink_to(folder)
    wavs = [folder / "a.wav", folder / "linked" / "c.wav"]
    assert paths(find(folder)) == [wavs[0], folder / "deeper" / "B.MP4", wavs[1]]
    shutil.rmtree(folder / "__MACOSX")
    assert paths(find(folder / "**" / "*.wav")) == wavs


def test_arguments_without_a_match_have_an_error(tmp_path, find):
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    found = find(tmp_path / "gone.wav", tmp_path / "*.ogg", tmp_path / "empty", tmp_path / "emp*")
    assert paths(found) == [None] * 4
    for one, word in zip(found, ("such file", "matches", "this folder", "matching folders"), strict=True):
        assert word in one.error
    assert [one.name for one in found] == [str(tmp_path / name) for name in ("gone.wav", "*.ogg", "empty", "emp*")]


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="their file names are Unicode")
def test_a_name_that_is_not_utf_8_is_escaped(folder, find):
    path = folder / os.fsdecode(b"\xff.wav")
    shutil.copy(folder / "a.wav", path)
    (one,) = find(path)
    assert one.path == path
    assert one.name.encode() == os.fsencode(folder) + rb"/\xff.wav"


def test_standard_input_is_read_once_into_a_file(find, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a recording")))
    (one,) = find("-", "-")
    assert (one.name, one.title) == ("-", "standard input")
    assert one.path.read_bytes() == b"a recording"
    monkeypatch.setattr(sys, "stdin", Mock(isatty=lambda: True))
    assert "terminal" in find("-")[0].error
