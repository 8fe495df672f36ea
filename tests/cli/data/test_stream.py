import re

import pytest

from crossmodal.cli.main import main
from crossmodal.datasets.stream.reader import read_about
from tests.datasets.arrays import arrays

SIZES = ["--num_video_frames", "2", "--face_size", "16"]


@pytest.fixture
def prepare(tiny_videos, tmp_path_factory):
    """Return a function that runs the command on three actors with eight speech clips each."""
    cache = tmp_path_factory.getbasetemp() / "streamed_cache"  # decoded once for all tests here

    def run(*arguments):
        return main(["data", "prepare", str(tiny_videos), "--cache", str(cache), *SIZES, *arguments])

    return run


def test_pairs_are_split_by_the_protocol(prepare, tmp_path, capsys):
    target = str(tmp_path / "stream")
    assert prepare("--channel", "speech", "--protocol", "loso24", "--fold", "1", "--to", "litdata", target) == 0
    assert (
        f"The stream is in {target}, loso24 fold 1: pairs 8 to train, 8 to val, 8 to test." in capsys.readouterr().out
    )
    about = read_about(target)
    assert about.actors == {"train": ["01"], "val": ["03"], "test": ["02"]}
    assert (about.name, about.kind, about.protocol, about.fold) == ("RAVDESS", "ravdess", "loso24", 1)
    assert not about.is_speaker_dependent


def test_a_label_set_excludes_other_emotions(prepare, tmp_path):
    target = str(tmp_path / "stream")
    arguments = ["--channel", "speech", "--label_set", "speech6", "--protocol", "loso24", "--to", "litdata", target]
    assert prepare(*arguments) == 0
    about = read_about(target)
    assert about.labels == ("neutral", "calm", "happy", "sad", "angry", "fearful")
    assert about.num_clips == {"train": 6, "val": 6, "test": 6}


def test_speaker_dependent_stream(prepare, tmp_path):
    target = str(tmp_path / "stream")
    arguments = ["--channel", "speech", "--protocol", "random", "--to", "litdata", target]
    assert prepare(*arguments, "--allow_speaker_leakage") == 0
    assert read_about(target).is_speaker_dependent


def test_folds_of_a_manifest(tiny_videos, tmp_path):
    manifest = tmp_path / "people.csv"
    rows = [
        f"{path.stem},{path},{path.with_name('01' + path.stem[2:] + '.mp4')},{path.stem[6:8]},{path.parent.name}"
        for path in sorted(tiny_videos.rglob("*.wav"))
    ]
    manifest.write_text("\n".join(["clip,audio,video,label,speaker", *rows]))
    target = str(tmp_path / "stream")
    arguments = [
        "data",
        "prepare",
        "--manifest",
        str(manifest),
        "--allow_outside_paths",
        *SIZES,
        "--to",
        "litdata",
        target,
    ]
    assert main([*arguments, "--num_folds", "3", "--fold", "2"]) == 0
    about = read_about(target)
    assert (about.name, about.kind, about.protocol, about.fold) == ("people", "manifest", "grouped", 2)
    assert about.num_clips == {"train": 8, "val": 8, "test": 8}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to", "webdataset", "out"], r"webdataset.*litdata"),
        (["--to", "litdata", "out", "--shard", "1/2"], "--shard"),
        (["--fold", "0", "--protocol", "seq6"], r"--protocol, --fold .*--to"),
        (["--allow_speaker_leakage"], r"--allow_speaker_leakage .*--to"),
        (["--to", "litdata", "."], r" \. "),
        (["--to", "litdata", "out", "--protocol", "random"], r" --allow_speaker_leakage"),
        (["--to", "litdata", "out", "--protocol", "loso24", "--fold", "5"], r" --fold\b"),
        (["--to", "litdata", "out", "--label_set", "song6"], "'song6'.*'both'"),
    ],
)
def test_invalid_arguments_are_rejected_before_decoding(tiny_videos, tmp_path, monkeypatch, capsys, arguments, reason):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", str(tiny_videos), "--cache", "cache", *arguments]) == 1
    assert re.search(reason, capsys.readouterr().err)
    assert arrays(tmp_path) == {}
    assert not (tmp_path / "out").exists()


def test_a_manifest_takes_no_label_set(tmp_path, capsys):
    assert main(["data", "prepare", "--manifest", "m.csv", "--to", "litdata", "out", "--label_set", "both8"]) == 1
    assert "--label_set" in capsys.readouterr().err
