import json
import shutil

import numpy as np
import pytest
from PIL import Image

from crossmodal.datasets.ravdess import index_ravdess
from crossmodal.datasets.synthetic import corpus
from crossmodal.datasets.synthetic.performance import Performance
from crossmodal.main import main


@pytest.fixture
def root(tiny_videos, tmp_path):
    """Two clips with sound and face, one without face, one without sound, one damaged, one of another name."""
    root = tmp_path / "corpus"
    root.mkdir()
    for path in sorted(tiny_videos.rglob("*-0[1234]-01-01-01-01.*")):
        shutil.copy(path, root)
    (root / "01-01-03-01-01-01-01.mp4").unlink()
    (root / "03-01-04-01-01-01-01.wav").unlink()
    (root / "01-01-04-01-01-01-01.mp4").rename(root / "02-01-04-01-01-01-01.mp4")
    (root / "03-01-05-01-01-01-01.wav").write_bytes(b"")
    (root / "recording.wav").write_bytes(b"")
    return root


def test_prepare_keeps_sound_and_face_of_unpaired_clips_and_lists_what_is_damaged(root, tmp_path, capsys):
    command = ["data", "prepare", str(root), "--cache", str(tmp_path / "cache"), "--num_video_frames", "3"]
    command += ["--face_size", "40", "--contact_sheet", str(tmp_path / "sheet.png")]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "3 waveforms and the faces of 3 clips are in" in said
    assert "6 made now, 0 reused" in said
    assert "2 file(s) set aside" in said
    assert "03-01-05-01-01-01-01.wav: the file is empty (0 bytes)" in said
    assert "recording.wav: not a RAVDESS name" in said
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * (40 + 14), 3 * 40, 3)
    assert sheet[:14].min() < 128  # the name above
    assert sheet[14:54].std() > 20  # the crops
    assert main(command[:-2]) == 0
    assert "0 made now, 6 reused" in capsys.readouterr().out


def test_prepare_refuses_crops_that_cannot_be(root, capsys):
    assert main(["data", "prepare", str(root), "--num_video_frames", "0"]) == 1
    assert "at least one video frame (--num_video_frames)" in capsys.readouterr().err
    assert main(["data", "prepare", str(root), "--face_size", "4"]) == 1
    assert "--face_size" in capsys.readouterr().err


def test_prepare_of_nothing_usable_has_status_1(tmp_path, capsys):
    (tmp_path / "03-01-05-01-01-01-01.wav").write_bytes(b"")
    assert main(["data", "prepare", str(tmp_path), "--cache", str(tmp_path / "cache")]) == 1
    assert "0 waveforms and the faces of 0 clips" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["prepare", "check"])
def test_a_missing_root_is_one_line_and_status_1(tmp_path, capsys, command):
    assert main(["data", command, str(tmp_path / "nowhere")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"crossmodal data {command}: There is no folder")
    assert "Traceback" not in said


def test_check_says_what_lacks_and_what_is_damaged(root, capsys):
    assert main(["data", "check", str(root), "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["clips"] == 5
    assert report["actors"] == {"01": {"speech_sound": 4, "speech_face": 3}}
    assert report["without_sound"] == ["01-04-01-01-01-01"]
    assert report["without_face"] == ["01-03-01-01-01-01", "01-05-01-01-01-01"]
    assert [aside["what"] for aside in report["set_aside"]] == [str(root / "recording.wav")]
    (damaged,) = report["damaged"]
    assert damaged == {"what": str(root / "03-01-05-01-01-01-01.wav"), "reason": "the file is empty (0 bytes)"}


def test_check_of_a_whole_corpus_has_status_0(root, capsys):
    (root / "recording.wav").unlink()
    (root / "03-01-05-01-01-01-01.wav").unlink()
    assert main(["data", "check", str(root)]) == 0
    said = capsys.readouterr().out
    assert "4 clips, 2 of them without sound or without face." in said
    assert "Nothing is damaged." in said
    assert "speech sound" in said


def test_synthesize_writes_what_it_says(tmp_path, capsys, monkeypatch):
    few = [Performance(1, 5, 2, 1, 1, 1), Performance(1, 3, 1, 2, 1, 1)]
    monkeypatch.setattr(corpus, "list_performances", lambda actors, channel, repetitions: few * (actors == 1))
    root = tmp_path / "synthetic"
    command = ["data", "synthesize", str(root), "--actors", "1", "--resolution", "64x36", "--num_processes", "1"]
    assert main(command) == 0
    assert f"crossmodal fit --data.root {root}" in capsys.readouterr().out
    clips = index_ravdess(root).clips
    assert [clip.clip for clip in clips] == ["01-03-01-02-01-01", "01-05-02-01-01-01"]
    assert all(clip.audio and clip.video for clip in clips)


@pytest.mark.parametrize("resolution", ["320", "320x", "axb", "-4x4"])
def test_synthesize_refuses_a_resolution_that_is_none(tmp_path, capsys, resolution):
    assert main(["data", "synthesize", str(tmp_path / "s"), f"--resolution={resolution}"]) == 1
    assert "give width and height in pixels, e.g. 1280x720" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
