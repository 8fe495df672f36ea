import re

import pytest

from crossmodal.cli.main import main
from crossmodal.datasets.stream.reader import read_about
from tests.datasets.arrays import arrays

SIZES = ["--num_video_frames", "2", "--face_size", "16"]


def test_pairs_of_ravdess_are_written(tiny_videos, tmp_path, capsys):
    target = str(tmp_path / "stream")
    assert main(["data", "prepare", str(tiny_videos), "--channel", "speech", *SIZES, "--to", "litdata", target]) == 0
    assert f"--data.stream {target}" in capsys.readouterr().out
    about = read_about(target)
    assert (about.name, about.kind, about.protocol, about.labels) == ("RAVDESS", "ravdess", "seq6", None)
    assert (about.crops.num_video_frames, about.crops.face_size, len(about.clips)) == (2, 16, 24)


def test_pairs_of_a_manifest_are_written(tiny_videos, tmp_path):
    rows = [
        f"{path.stem},{path},{path.with_name('01' + path.stem[2:] + '.mp4')},{path.stem[6:8]},{path.parent.name}"
        for path in sorted(tiny_videos.rglob("*.wav"))
    ]
    manifest, target = tmp_path / "people.csv", str(tmp_path / "stream")
    manifest.write_text("\n".join(["clip,audio,video,label,speaker", *rows]))
    outside = ["--manifest", str(manifest), "--allow_outside_paths"]
    assert main(["data", "prepare", *outside, *SIZES, "--to", "litdata", target]) == 0
    about = read_about(target)
    assert (about.name, about.kind, about.protocol, len(about.clips)) == ("people", "manifest", "grouped", 24)
    assert about.labels == tuple(f"0{number}" for number in range(1, 9))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to", "webdataset", "out"], r"webdataset.*litdata"),
        (["--to", "litdata", "out", "--shard", "1/2"], "--shard"),
        (["--to", "litdata", "."], r" \. |already exists"),
    ],
)
def test_invalid_arguments_are_rejected_before_decoding(tiny_videos, tmp_path, monkeypatch, capsys, arguments, reason):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", str(tiny_videos), "--cache", "cache", *arguments]) == 1
    assert re.search(reason, capsys.readouterr().err)
    assert arrays(tmp_path) == {}
    assert not (tmp_path / "out").exists()
