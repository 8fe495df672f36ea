import io
import os
import shutil
import sys
from pathlib import Path

import pytest

from crossmodal.inference.predict.inputs import find_inputs


@pytest.fixture
def find(tmp_path_factory):
    return lambda *words: find_inputs([str(word) for word in words], tmp_path_factory.mktemp("stdin"))


def paths(inputs):
    return [one.path for one in inputs]


def test_a_folder_a_glob_and_files_are_found(folder, find, monkeypatch):
    wav, mp4 = folder / "a.wav", folder / "deeper" / "B.MP4"
    assert paths(find(folder)) == [wav, mp4]
    assert paths(find(folder / "*.wav")) == [wav]
    assert paths(find(folder / "**" / "*.MP4")) == [mp4]
    assert paths(find(folder / "dee*")) == [mp4]  # a glob may match a folder
    assert paths(find(mp4, wav)) == [mp4, wav]
    assert paths(find(folder / "notes.txt")) == [folder / "notes.txt"]  # it was asked for by name
    monkeypatch.chdir(folder)
    assert paths(find("*.wav", ".")) == [Path("a.wav"), Path("deeper/B.MP4")]


def test_what_is_named_twice_is_found_once(folder, find):
    assert paths(find(folder, folder / "a.wav", folder / "*.wav")) == [folder / "a.wav", folder / "deeper" / "B.MP4"]
    assert len(find(*[folder / "a.wav"] * 3)) == 1


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(folder, find):
    path = folder / "take [1].wav"
    shutil.copy(folder / "a.wav", path)
    assert paths(find(path)) == [path]


def test_what_is_hidden_in_a_folder_is_left_out(folder, find):
    shutil.copy(folder / "a.wav", folder / "._a.wav")
    assert folder / "._a.wav" not in paths(find(folder))
    assert paths(find(folder / "._a.wav")) == [folder / "._a.wav"]


def test_what_names_nothing_is_kept_with_its_reason(tmp_path, find):
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    found = find(tmp_path / "gone.wav", tmp_path / "*.ogg", tmp_path / "empty", tmp_path / "emp*")
    assert paths(found) == [None] * 4
    assert [one.error for one in found] == [
        "there is no such file or folder",
        "nothing matches it",
        "no sound or video file in this folder, nor below it",
        "no sound or video file in the folders that it matches",
    ]
    assert [one.name for one in found] == [str(tmp_path / name) for name in ("gone.wav", "*.ogg", "empty", "emp*")]


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="their file names are Unicode")
def test_a_name_that_is_not_utf_8_can_be_printed(folder, find):
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


def test_a_terminal_is_no_recording(find, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    (one,) = find("-")
    assert one.error == "standard input is a terminal: pipe a recording into it, or < FILE"
