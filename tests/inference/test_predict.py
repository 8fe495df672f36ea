import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from crossmodal.inference.predict import find_files
from crossmodal.main import main
from tests.inference.conftest import LABELS


@pytest.fixture
def folder(tiny_ravdess, tiny_videos, tmp_path):
    """Two good recordings and what lies beside them."""
    folder = tmp_path / "recordings"
    (folder / "deeper").mkdir(parents=True)
    shutil.copy(tiny_ravdess / "Actor_01" / "03-01-05-01-01-01-01.wav", folder / "a.wav")
    shutil.copy(tiny_videos / "Actor_01" / "01-01-03-01-01-01-01.mp4", folder / "deeper" / "B.MP4")
    (folder / "notes.txt").write_text("not a recording")
    return folder


@pytest.fixture
def with_a_bad_file(folder):
    (folder / "bad.wav").write_bytes(b"")
    return folder


def test_a_folder_a_glob_and_files_are_found(folder, monkeypatch):
    wav, mp4 = folder / "a.wav", folder / "deeper" / "B.MP4"
    assert find_files([str(folder)]) == [wav, mp4]
    assert find_files([str(folder / "*.wav")]) == [wav]
    assert find_files([str(folder / "**" / "*.MP4")]) == [mp4]
    assert find_files([str(mp4), str(wav)]) == [mp4, wav]
    assert find_files([str(folder / "notes.txt")]) == [folder / "notes.txt"]  # it was asked for by name
    monkeypatch.chdir(folder)
    assert find_files(["*.wav"]) == [Path("a.wav")]


def test_what_is_named_twice_is_found_once(folder):
    assert find_files([str(folder), str(folder / "a.wav"), str(folder / "*")])[:2] == [
        folder / "a.wav",
        folder / "deeper" / "B.MP4",
    ]
    assert len(find_files([str(folder / "a.wav")] * 3)) == 1


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(folder):
    path = folder / "take [1].wav"
    shutil.copy(folder / "a.wav", path)
    assert find_files([str(path)]) == [path]


def test_what_names_nothing_is_kept(tmp_path):
    missing = [tmp_path / "gone.wav", tmp_path / "*.ogg"]
    assert find_files([str(path) for path in missing]) == missing


def test_json(folder, model_folder, recognizer, capsys):
    assert main(["predict", "--model", str(model_folder), "--format", "json", str(folder)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in said] == [str(folder / "a.wav"), str(folder / "deeper" / "B.MP4")]
    for one in said:
        expected = recognizer(one["file"])
        assert one == {"file": one["file"], "label": expected.label, "probabilities": expected.probabilities}
        assert len(one["probabilities"]) == 8
        assert sum(one["probabilities"].values()) == pytest.approx(1)


def test_csv(folder, model_folder, recognizer, capsys):
    assert main(["predict", str(folder / "a.wav"), "--model", str(model_folder), "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    expected = recognizer(folder / "a.wav")
    assert list(row) == ["file", "label", *LABELS, "error"]
    assert (row["file"], row["label"], row["error"]) == (str(folder / "a.wav"), expected.label, "")
    for label in LABELS:
        assert float(row[label]) == pytest.approx(expected.probabilities[label], abs=1e-6)


def test_table(folder, model_folder, recognizer, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(folder)
    assert main(["predict", "a.wav", "--model", str(model_folder)]) == 0
    header, row, *rest = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "emotion", "probability", "next"]
    expected = recognizer(folder / "a.wav")
    assert row.split()[:3] == ["a.wav", expected.label, f"{expected.score:.2f}"]
    second = sorted(expected.probabilities.values())[-2]
    assert f"{second:.2f}" in row
    assert rest == []


def test_one_bad_file_does_not_stop_the_others_but_the_status_is_1(with_a_bad_file, model_folder, capsys):
    missing = with_a_bad_file / "gone.wav"
    command = ["predict", "--model", str(model_folder), "--format", "json", str(with_a_bad_file), str(missing)]
    assert main(command) == 1
    captured = capsys.readouterr()
    said = {Path(one["file"]).name: one for one in json.loads(captured.out)}
    assert said.keys() == {"a.wav", "B.MP4", "bad.wav", "gone.wav"}
    assert sorted(name for name, one in said.items() if "label" in one) == ["B.MP4", "a.wav"]
    assert said["bad.wav"]["error"] == f"{with_a_bad_file / 'bad.wav'}: the file is empty (0 bytes)"
    assert said["gone.wav"]["error"] == f"{missing}: there is no such file"
    assert f"crossmodal predict: {missing}: there is no such file" in captured.err


@pytest.mark.parametrize("form", ["csv", "table"])
def test_a_bad_file_is_told_in_every_format(with_a_bad_file, model_folder, capsys, form):
    assert main(["predict", "--model", str(model_folder), "--format", form, str(with_a_bad_file)]) == 1
    captured = capsys.readouterr()
    assert "bad.wav: the file is empty (0 bytes)" in captured.err
    if form == "csv":
        rows = {Path(row["file"]).name: row for row in csv.DictReader(io.StringIO(captured.out))}
        assert rows["bad.wav"]["error"].endswith("the file is empty (0 bytes)")
        assert rows["bad.wav"]["label"] == rows["bad.wav"]["calm"] == ""
        assert rows["a.wav"]["label"] in LABELS


def test_an_empty_folder_is_told(tmp_path, model_folder, capsys):
    assert main(["predict", "--model", str(model_folder), str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_a_model_that_is_not_there_is_one_line(folder, capsys):
    assert main(["predict", str(folder), "--model", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("crossmodal predict: nowhere is not a model folder")
