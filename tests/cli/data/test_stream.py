import pytest

from crossmodal.cli.main import main
from crossmodal.datasets.stream.reader import read_about
from tests.datasets.arrays import arrays

SIZES = ["--num_video_frames", "2", "--face_size", "16"]


@pytest.fixture
def prepare(tiny_videos, tmp_path_factory):
    """Run the command on three actors' eight clips of speech each."""
    cache = tmp_path_factory.getbasetemp() / "streamed_cache"  # decoded once for all tests here

    def run(*words):
        return main(["data", "prepare", str(tiny_videos), "--cache", str(cache), *SIZES, *words])

    return run


def test_the_pairs_are_written_as_the_protocol_divides_them(prepare, tmp_path, capsys):
    target = str(tmp_path / "stream")
    assert prepare("--channel", "speech", "--protocol", "loso24", "--fold", "1", "--to", "litdata", target) == 0
    assert (
        f"The stream is in {target}, loso24 fold 1: pairs 8 to train, 8 to val, 8 to test." in capsys.readouterr().out
    )
    about = read_about(target)
    assert about.actors == {"train": ["01"], "val": ["03"], "test": ["02"]}
    assert (about.name, about.kind, about.protocol, about.fold) == ("RAVDESS", "ravdess", "loso24", 1)
    assert not about.is_speaker_dependent


def test_a_label_set_leaves_out_what_it_does_not_hold(prepare, tmp_path):
    target = str(tmp_path / "stream")
    words = ["--channel", "speech", "--label_set", "speech6", "--protocol", "loso24", "--to", "litdata", target]
    assert prepare(*words) == 0
    about = read_about(target)
    assert about.labels == ("neutral", "calm", "happy", "sad", "angry", "fearful")
    assert about.num_clips == {"train": 6, "val": 6, "test": 6}


def test_leakage_is_said(prepare, tmp_path):
    target = str(tmp_path / "stream")
    words = ["--channel", "speech", "--protocol", "random", "--to", "litdata", target]
    assert prepare(*words, "--allow_speaker_leakage") == 0
    assert read_about(target).is_speaker_dependent


def test_a_manifest_is_divided_into_so_many_folds(tiny_videos, tmp_path):
    manifest = tmp_path / "people.csv"
    rows = [
        f"{path.stem},{path},{path.with_name('01' + path.stem[2:] + '.mp4')},{path.stem[6:8]},{path.parent.name}"
        for path in sorted(tiny_videos.rglob("*.wav"))
    ]
    manifest.write_text("\n".join(["clip,audio,video,label,speaker", *rows]))
    target = str(tmp_path / "stream")
    words = ["data", "prepare", "--manifest", str(manifest), "--allow_outside_paths", *SIZES, "--to", "litdata", target]
    assert main([*words, "--num_folds", "3", "--fold", "2"]) == 0
    about = read_about(target)
    assert (about.name, about.kind, about.protocol, about.fold) == ("people", "manifest", "grouped", 2)
    assert about.num_clips == {"train": 8, "val": 8, "test": 8}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "webdataset", "out"], "--to webdataset: the only format to write is litdata"),
        (["--to", "litdata", "out", "--shard", "1/2"], "--shard knows a part of the clips"),
        (
            ["--fold", "0", "--protocol", "seq6"],
            "Only a stream is divided: --protocol, --fold without --to litdata DIR",
        ),
        (["--allow_speaker_leakage"], "--allow_speaker_leakage without --to"),
        (["--to", "litdata", "."], ". already exists"),
        (["--to", "litdata", "out", "--protocol", "random"], "--allow_speaker_leakage; every"),
        (["--to", "litdata", "out", "--protocol", "loso24", "--fold", "5"], "choose one with --fold."),
        (["--to", "litdata", "out", "--label_set", "song6"], "'song6' does not fit channel 'both'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_decoded(tiny_videos, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", str(tiny_videos), "--cache", "cache", *words]) == 1
    assert said in capsys.readouterr().err
    assert arrays(tmp_path) == {}
    assert not (tmp_path / "out").exists()


def test_a_label_set_is_not_of_manifests(tmp_path, capsys):
    assert main(["data", "prepare", "--manifest", "m.csv", "--to", "litdata", "out", "--label_set", "both8"]) == 1
    assert "the labels of a manifest are those in it" in capsys.readouterr().err
