import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crossmodal.cli.main import main
from crossmodal.datasets.preparation import take_shard
from crossmodal.datasets.ravdess import index_ravdess
from crossmodal.datasets.synthetic import corpus
from crossmodal.datasets.synthetic.performance import Performance
from crossmodal.errors import ConfigError
from tests.datasets.arrays import arrays


@pytest.fixture
def root(tiny_videos, tmp_path):
    """Copy two paired clips, one without video, one without audio, one damaged and one with another name."""
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


@pytest.fixture
def prepare(root, tmp_path, capsys):
    """Return a function that prepares the corpus and returns the output."""

    def run(*arguments, corpus=(str(root),), cache="cache", face_size=16, num_video_frames=2):
        sizes = ["--face_size", str(face_size), "--num_video_frames", str(num_video_frames)]
        assert main(["data", "prepare", *corpus, "--cache", str(tmp_path / cache), *sizes, *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_prepare_decodes_unpaired_clips_and_lists_damaged_files(prepare, tmp_path):
    out = prepare("--contact_sheet", str(tmp_path / "sheet.png"), face_size=40, num_video_frames=3)
    assert "3 waveforms and the faces of 3 clips are in" in out
    assert "6 decoded, 0 reused" in out
    assert "2 file(s) excluded" in out
    assert re.search(r"03-01-05-01-01-01-01\.wav: .*empty", out)
    assert "recording.wav: " in out
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 42 + 2, 3 * 42 + 2, 3)  # with lines of two pixels
    assert sheet[2:42, 2:42].std() > 20
    assert "0 decoded, 6 reused" in prepare(face_size=40, num_video_frames=3)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["DIR", "--num_video_frames", "0"], "num_video_frames"),
        (["DIR", "--face_size", "4"], "face_size"),
        (["DIR", "--face_detector", "harr"], "harr"),
        (["DIR", "--manifest", "FILE"], "--manifest"),
        ([], "--manifest"),
    ],
)
def test_prepare_rejects_invalid_arguments(root, capsys, arguments, reason):
    assert main(["data", "prepare", *(str(root) if one == "DIR" else one for one in arguments)]) == 1
    assert reason in capsys.readouterr().err


def test_prepare_without_usable_clips_has_status_1(tmp_path, capsys):
    (tmp_path / "03-01-05-01-01-01-01.wav").write_bytes(b"")
    assert main(["data", "prepare", str(tmp_path), "--cache", str(tmp_path / "cache")]) == 1
    assert "0 waveforms and the faces of 0 clips" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["prepare", "check"])
def test_a_missing_root(tmp_path, capsys, command):
    assert main(["data", command, str(tmp_path / "nowhere")]) == 1
    out = capsys.readouterr().err
    assert out.startswith(f"crossmodal data {command}: ") and "nowhere" in out
    assert "Traceback" not in out


def test_damaged_files_are_listed_and_retried(prepare, root, tmp_path):
    listed = tmp_path / "cache" / "quarantine.json"
    assert str(listed) in prepare()
    assert [Path(entry["file"]).name for entry in json.loads(listed.read_text())] == ["03-01-05-01-01-01-01.wav"]
    shutil.copy(root / "03-01-01-01-01-01-01.wav", root / "03-01-05-01-01-01-01.wav")
    assert "quarantine" not in prepare()
    assert json.loads(listed.read_text()) == []


def test_shards_need_no_merging(prepare, tmp_path):
    assert "Shard 1/2: " in prepare("--shard", "1/2", cache="shards")
    assert "Shard 2/2: " in prepare("--shard", "2/2", cache="shards")
    prepare(cache="whole")
    assert arrays(tmp_path / "shards") == arrays(tmp_path / "whole")
    out = prepare(cache="shards")
    assert "3 waveforms and the faces of 3 clips are in" in out and "0 decoded, 6 reused" in out


@given(st.lists(st.integers()), st.integers(1, 9))
def test_every_item_is_in_one_shard(items, parts):
    shards = [take_shard(items, f"{part}/{parts}") for part in range(1, parts + 1)]
    assert sorted(itertools.chain(*shards)) == sorted(items)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", ""])
def test_an_invalid_shard(root, shard, capsys):
    if shard:
        assert main(["data", "prepare", str(root), f"--shard={shard}"]) == 1
        assert "shard" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="i/n"):
        take_shard([1, 2], shard)


def test_prepare_takes_a_manifest(prepare, root, tmp_path):
    manifest = root / "corpus.csv"
    manifest.write_text(
        "clip,audio,video,label,speaker\n"
        "one,03-01-01-01-01-01-01.wav,01-01-01-01-01-01-01.mp4,neutral,a\n"
        "two,03-01-02-01-01-01-01.wav,01-01-02-01-01-01-01.mp4,calm,b\n"
    )
    corpus = ("--manifest", str(manifest))
    assert "2 waveforms and the faces of 2 clips are in" in prepare(corpus=corpus)
    whole = arrays(tmp_path / "cache")
    assert "2 decoded, 2 reused" in prepare("--face_box", "0.25", "0", "0.75", "1", corpus=corpus)
    assert len(arrays(tmp_path / "cache")) == len(whole) + 2


def test_prepare_with_another_video_decoder(prepare, tmp_path):
    found = {}
    for decoder in ("pyav", "auto"):
        prepare("--video_decoder", decoder, cache=decoder)
        found[decoder] = arrays(tmp_path / decoder / "faces")
    assert sorted(found["auto"].values()) == sorted(found["pyav"].values())
    assert not found["auto"].keys() & found["pyav"].keys()


def test_synthesize(tmp_path, capsys, monkeypatch):
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
def test_synthesize_rejects_an_invalid_resolution(tmp_path, capsys, resolution):
    assert main(["data", "synthesize", str(tmp_path / "s"), f"--resolution={resolution}"]) == 1
    assert "--resolution" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
