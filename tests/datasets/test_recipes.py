import argparse
import csv
import shutil
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from crossmodal.cli.data.manifest import manifest_arguments, manifest_command
from crossmodal.cli.main import main
from crossmodal.datasets import FaceCrops, index_manifest, index_ravdess, prepare_corpus
from crossmodal.datasets.recipes import RECIPES, list_corpus
from crossmodal.datasets.splits.protocols import split_clips
from crossmodal.errors import CorpusNotFoundError, LeakageError

EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}


def touch(root, *names, content=b"anything"):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


@pytest.fixture
def cremad(tmp_path):
    """Return a folder in the layout of CREMA-D's repository, with six emotions and every kind of level."""
    stems = [f"{speaker}_DFA_{emotion}_XX" for speaker in (1001, 1002, 1091) for emotion in EMOTIONS]
    stems += ["1001_IEO_ANG_HI", "1001_IEO_ANG_LO", "1040_ITH_SAD_X"]
    for folder, suffix in (("AudioWAV", "wav"), ("AudioMP3", "mp3"), ("VideoFlash", "flv")):
        touch(tmp_path, *(f"{folder}/{stem}.{suffix}" for stem in stems))
    touch(tmp_path, "README.md", "VideoDemographics.csv", "SentenceFilenames.csv")
    return tmp_path


MELD_HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
MELD = [  # table, folder of videos, rows: speaker, emotion, dialogue, utterance
    ("train_sent_emo.csv", "train_splits", "Monica,joy,0,0 Ross,sadness,0,1 Casting_Director,fear,1,0"),
    ("dev_sent_emo.csv", "dev_splits_complete", "Monica,surprise,0,0 Phoebe,neutral,0,1 Joey,anger,110,7"),
    ("test_sent_emo.csv", "output_repeated_splits_test", "Mark,disgust,0,0 All,joy,0,1 Mark,neutral,38,4"),
]


@pytest.fixture
def meld(tmp_path):
    """Return a folder in the layout of MELD's archive: for each part a table and a folder of videos."""
    for table, videos, rows in MELD:
        part = table.split("_")[0]
        lines = [MELD_HEADER]
        for row in rows.split():
            speaker, emotion, dialogue, utterance = row.split(",")
            speaker = speaker.replace("_", "  ")
            times = '"00:16:16,059","00:16:21,731"'
            lines.append(f'1,"What\x92s, “he”?",{speaker},{emotion},positive,{dialogue},{utterance},8,21,{times}')
            if dialogue != "110":  # missing from the published archive
                touch(tmp_path, f"{part}/{videos}/dia{dialogue}_utt{utterance}.mp4")
        touch(tmp_path, f"{part}/{table}", content="\r\n".join(lines).encode())
    # Videos without a row, and metadata of macOS.
    touch(tmp_path, "dev/dev_splits_complete/dia66_utt9.mp4")
    touch(tmp_path, "test/output_repeated_splits_test/._dia0_utt0.mp4")
    for table, videos, _ in MELD:  # sorted before the real ones
        touch(tmp_path, f"__MACOSX/{videos}/._dia0_utt0.mp4", f"__MACOSX/{table}", f"._{table}")
    return tmp_path


def run(corpus, root, *more):
    parser = argparse.ArgumentParser()
    manifest_arguments(parser)
    return manifest_command(parser.parse_args([corpus, str(root), *map(str, more)]))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
@pytest.mark.parametrize("corpus", ["cremad", "meld"])
def test_linked_folders_are_searched(corpus, tmp_path, request):
    original = request.getfixturevalue(corpus)
    linked = tmp_path / "linked"
    linked.mkdir()
    entries = [path for path in original.iterdir() if path.is_dir() and path != linked]
    for path in entries:
        path.rename(tmp_path.parent / f"{tmp_path.name}-{path.name}")
        (linked / path.name).symlink_to(tmp_path.parent / f"{tmp_path.name}-{path.name}")
    (linked / "loop").symlink_to(linked)
    listing = list_corpus(corpus, linked)
    assert len(listing.rows) == {"cremad": 21, "meld": 8}[corpus]
    assert not [clip for clip in listing.excluded if "copy" in clip.reason]


class TestCremad:
    def test_names_give_speaker_and_emotion(self, cremad, capsys):
        assert run("cremad", cremad) == 0
        output = capsys.readouterr().out
        assert "21 clips of 4 speakers with 6 labels" in output
        assert f"crossmodal fit --data.manifest {cremad / 'cremad.csv'}\n" in output
        cremad = cremad.rename(cremad.with_name(f"{cremad.name}-moved"))  # paths are relative
        index = index_manifest(cremad / "cremad.csv")
        assert index.excluded == []
        assert len(index.clips) == 21
        assert {clip.actor for clip in index.clips} == {"1001", "1002", "1040", "1091"}
        for clip in index.clips:
            assert clip.label == EMOTIONS[clip.clip.split("_")[2]]
            assert clip.audio == cremad / "AudioWAV" / f"{clip.clip}.wav"
            assert clip.video == cremad / "VideoFlash" / f"{clip.clip}.flv"
        assert index.labels == ("neutral", "happy", "sad", "angry", "fearful", "disgust")
        first, *_ = csv.DictReader((cremad / "cremad.csv").read_text().splitlines())
        names = {"audio": "AudioWAV/1001_DFA_ANG_XX.wav", "video": "VideoFlash/1001_DFA_ANG_XX.flv"}
        assert first == {"clip": "1001_DFA_ANG_XX", **names, "label": "angry", "speaker": "1001", "split": ""}

    def test_sex_is_that_of_the_demographics(self, cremad):
        table = (
            '"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","x","y"\n1002,21,"Female","x","y"\n1040,42,"?"\n'
        )
        touch(cremad, "VideoDemographics.csv", content=table.encode())
        run("cremad", cremad)
        index = index_manifest(cremad / "cremad.csv")
        assert index.excluded == []
        assert {(clip.actor, clip.sex) for clip in index.clips} == {
            ("1001", "male"),
            ("1002", "female"),
            ("1040", None),
            ("1091", None),
        }

    def test_manifest_in_another_folder_has_absolute_paths(self, cremad, tmp_path_factory, capsys):
        path = tmp_path_factory.mktemp("elsewhere") / "mine.parquet"
        run("cremad", cremad, "--out", path)
        assert f"--data.manifest {path} --data.allow_outside_paths true" in capsys.readouterr().out
        with pytest.raises(CorpusNotFoundError, match="allow_outside_paths"):
            index_manifest(path)
        assert len(index_manifest(path, allow_outside_paths=True).clips) == 21

    def test_corpus_without_videos(self, cremad, capsys):
        shutil.rmtree(cremad / "VideoFlash")
        run("cremad", cremad)
        assert all(clip.video is None for clip in index_manifest(cremad / "cremad.csv").clips)
        assert "fit --stages control" in capsys.readouterr().out

    def test_git_lfs_pointers(self, cremad, capsys):
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 50000\n"
        touch(cremad, *(str(path.relative_to(cremad)) for path in cremad.rglob("*.flv")), content=pointer)
        run("cremad", cremad)
        output = capsys.readouterr().out
        assert all(words in output for words in ("21 ", "1001_DFA_ANG_XX.flv", "git lfs pull", "16 more"))

    def test_other_files_are_excluded(self, cremad):
        touch(cremad, "AudioWAV/notes.wav", "AudioWAV/1001_DFA_ANG.wav", "copy/1001_DFA_ANG_XX.wav", "AudioWAV/._x.wav")
        listing = list_corpus("cremad", cremad)
        assert len(listing.rows) == 21
        assert sum("copy" in aside.reason for aside in listing.excluded) == 1
        assert sum("CREMA-D" in aside.reason for aside in listing.excluded) == 2
        assert len(listing.excluded) == 3


class TestMeld:
    def test_tables_give_speakers_labels_and_splits(self, meld, capsys):
        assert run("meld", meld) == 0
        index = index_manifest(meld / "meld.csv")
        assert {(clip.clip, clip.actor, clip.label, clip.split) for clip in index.clips} == {
            ("train_dia0_utt0", "Monica", "happy", "train"),
            ("train_dia0_utt1", "Ross", "sad", "train"),
            ("train_dia1_utt0", "Casting Director", "fearful", "train"),
            ("val_dia0_utt0", "Monica", "surprised", "val"),
            ("val_dia0_utt1", "Phoebe", "neutral", "val"),
            ("test_dia0_utt0", "Mark", "disgust", "test"),
            ("test_dia0_utt1", "All", "happy", "test"),
            ("test_dia38_utt4", "Mark", "neutral", "test"),
        }
        (clip,) = (clip for clip in index.clips if clip.clip == "val_dia0_utt0")
        assert clip.video == clip.audio == meld / "dev/dev_splits_complete/dia0_utt0.mp4"

    def test_split_that_shares_speakers(self, meld, capsys):
        run("meld", meld)
        assert "1 speaker(s) are in more than one part" in capsys.readouterr().out
        clips = index_manifest(meld / "meld.csv").clips
        with pytest.raises(LeakageError, match=r"Monica \(train, val\)"):
            split_clips(clips, "given", 0)

    def test_missing_split_and_video(self, meld, capsys):
        (meld / "test" / "test_sent_emo.csv").unlink()
        run("meld", meld)
        output = capsys.readouterr().out
        assert "test_sent_emo.csv" in output
        assert "val dia110_utt7: " in output
        assert {clip.split for clip in index_manifest(meld / "meld.csv").clips} == {"train", "val"}

    def test_unknown_emotion_and_other_table(self, meld):
        path = meld / "train" / "train_sent_emo.csv"
        path.write_bytes(path.read_bytes().replace(b"fear", b"boredom"))
        assert "boredom" in list_corpus("meld", meld).excluded[0].reason
        path.write_text("a,b\n1,2\n")
        with pytest.raises(CorpusNotFoundError, match="Dialogue_ID, Emotion, Speaker"):
            list_corpus("meld", meld)


def test_sound_of_ravdess_videos_is_aligned(tiny_videos, tmp_path):
    for path in tiny_videos.rglob("01-*.mp4"):
        touch(tmp_path, path.name, content=path.read_bytes())
    run("ravdess", tmp_path)
    clips = index_manifest(tmp_path / "ravdess.csv").clips
    assert clips == index_ravdess(tmp_path).clips
    assert {clip.audio_start for clip in clips} == {1 / 30}


@pytest.mark.parametrize("corpus", RECIPES)
def test_folders_without_a_clip(corpus, tmp_path, capsys):
    with pytest.raises(CorpusNotFoundError, match="gone"):
        list_corpus(corpus, tmp_path / "gone")
    touch(tmp_path, "x/happy.wav", "x/z.txt")
    assert main(["data", "manifest", corpus, str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert RECIPES[corpus][1] in error or corpus == "ravdess"
    assert "happy" in error or corpus == "meld"


def test_formats_of_cremad_are_decoded(tmp_path):
    """Prepare Flash videos and wavs with the sizes and rates of CREMA-D."""
    for stem in ("1001_IEO_ANG_HI", "1001_IEO_SAD_HI", "1002_IEO_ANG_HI", "1002_IEO_SAD_HI"):
        touch(tmp_path, f"AudioWAV/{stem}.wav", f"VideoFlash/{stem}.flv")
        sound = 0.3 * np.sin(np.arange(8000) * (0.1 if "ANG" in stem else 0.05))
        soundfile.write(tmp_path / "AudioWAV" / f"{stem}.wav", sound, 16_000, subtype="PCM_16")
        _write_flash(tmp_path / "VideoFlash" / f"{stem}.flv", brightness=200 if "ANG" in stem else 60)
    run("cremad", tmp_path)
    clips, crops = index_manifest(tmp_path / "cremad.csv").clips, FaceCrops(2, 32, (0.0, 0.0, 1.0, 1.0))
    corpus = prepare_corpus(clips, crops=crops, folder=tmp_path / "cache", num_processes=1)
    assert corpus.excluded == []
    assert {len(np.load(path)) for path in corpus.waveforms.values()} == {8000}
    for name, path in corpus.faces.items():
        faces = np.load(path)
        assert faces.shape == (2, 3, 32, 32)
        assert faces.mean() == pytest.approx(200 if "ANG" in name else 60, abs=12)


def _write_flash(path, brightness):
    with av.open(str(path), "w", format="flv") as container:
        stream = container.add_stream("flv", rate=Fraction(30_000, 1001))
        stream.width, stream.height, stream.pix_fmt = 480, 360, "yuv420p"
        for _ in range(15):
            picture = np.full((360, 480, 3), brightness, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
