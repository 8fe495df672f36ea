import csv
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from crossmodal.datasets import index_manifest, index_ravdess
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.manifest_table import COLUMNS, read_rows, write_rows
from crossmodal.errors import CorpusNotFoundError, DataError

HEADER = ["clip", "audio", "video", "label", "speaker", "split", "start", "end"]


@pytest.fixture
def folder(tmp_path):
    """Return a folder with files for a manifest, which are not decoded."""
    for name in ("a.wav", "b.wav", "faces/a.mp4", "faces/b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"anything")
    return tmp_path


def write(folder, *rows, header=HEADER, name="mine.csv", delimiter=","):
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


GOOD = (
    ["one", "a.wav", "faces/a.mp4", "sad", "Ada", "", "", ""],
    ["two", "b.wav", "", "happy", "Bo", "", "", ""],
)


def reason(folder, row, header=HEADER):
    """Return the reason why a row below two valid ones is excluded."""
    index = index_manifest(write(folder, *GOOD, row, header=header))
    assert [clip.clip for clip in index.clips] == ["one", "two"]
    (aside,) = index.excluded
    assert aside.what.startswith("mine.csv row 4")
    return aside.reason


class TestRows:
    def test_row_is_a_clip(self, folder):
        index = index_manifest(write(folder, *reversed(GOOD)))  # clips are sorted by name
        one = Clip("one", "Ada", "sad", audio=folder / "a.wav", video=folder / "faces/a.mp4")
        two = Clip("two", "Bo", "happy", audio=folder / "b.wav")
        assert (index.clips, index.excluded) == ([one, two], [])
        assert not index.has_split

    def test_clip_can_be_a_segment_of_its_files(self, folder):
        header = [*HEADER, "audio_delay"]
        rows = [
            ["one", "a.wav", "faces/a.mp4", "sad", "Ada", "", "1.5", "2.7", "0.25"],
            ["two", "", "faces/a.mp4", "happy", "Ada", "", "3", "", ""],
        ]
        one, two = index_manifest(write(folder, *rows, header=header)).clips
        assert (one.audio_start, one.video_start, one.duration) == (1.75, 1.5, 1.2)
        assert (two.audio_start, two.duration) == (3.0, None)
        assert two.audio == two.video == folder / "faces/a.mp4"  # without audio, the sound of the video

    def test_row_without_a_label_is_unlabelled(self, folder):
        index = index_manifest(write(folder, *GOOD, ["three", "a.wav", "", "", "Cy", "", "", ""]))
        assert [clip.label for clip in index.clips] == ["sad", None, "happy"]
        assert index.labels == ("happy", "sad")

    def test_columns_can_have_any_order(self, folder):
        header = ["Speaker", "age", "LABEL", " clip ", "audio"]
        path = write(folder, ["Ada", "9", "sad", "one", "a.wav"], ["Bo", "8", "happy", "two", "b.wav"], header=header)
        assert [(clip.clip, clip.actor, clip.label) for clip in index_manifest(path).clips] == [
            ("one", "Ada", "sad"),
            ("two", "Bo", "happy"),
        ]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_csv_from_spreadsheets(self, folder, delimiter):
        path = write(folder, *GOOD, delimiter=delimiter)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
        index = index_manifest(path)
        assert len(index.clips) == 2
        assert index.excluded == []

    def test_clip_can_be_a_ravdess_file_name(self, folder):
        rows = [["03-01-06-01-02-01-12.wav", *GOOD[0][1:]], ["take 2.1", *GOOD[1][1:]]]
        assert {clip.clip for clip in index_manifest(write(folder, *rows)).clips} == {"01-06-01-02-01-12", "take 2.1"}


class TestLabels:
    @pytest.mark.parametrize(
        "labels, expected",
        [
            (("sad", "happy", "neutral"), ("neutral", "happy", "sad")),  # emotions of RAVDESS, in its order
            (("sad", "bored", "happy"), ("bored", "happy", "sad")),
            (("1", "0"), ("0", "1")),
        ],
    )
    def test_order(self, folder, labels, expected):
        rows = [[f"clip {label}", "a.wav", "", label, "Ada", "", "", ""] for label in labels]
        assert index_manifest(write(folder, *rows)).labels == expected

    @pytest.mark.parametrize("labels", [("sad", "sad"), ("", "")])
    def test_fewer_than_two_labels(self, folder, labels):
        rows = [[f"clip {index}", "a.wav", "", label, "Ada", "", "", ""] for index, label in enumerate(labels)]
        with pytest.raises(DataError, match=r"mine\.csv .*two"):
            index_manifest(write(folder, *rows))


class TestExcludedRows:
    @pytest.mark.parametrize(
        "row, expected",
        [
            (["one", "b.wav", "", "sad", "Ada", "", "", ""], "same clip"),
            (["three", "gone.wav", "", "sad", "Ada", "", "", ""], r"gone\.wav"),
            (["three", "a.wav", "gone.mp4", "sad", "Ada", "", "", ""], r"gone\.mp4"),
            (["three", "faces", "", "sad", "Ada", "", "", ""], "faces"),
            (["three", "", "", "sad", "Ada", "", "", ""], "neither sound nor video"),
            (["three", "a.wav", "", "sad", "", "", "", ""], "speaker is empty"),
            (["", "a.wav", "", "sad", "Ada", "", "", ""], "clip is empty"),
            (["three", "a.wav", "", "sad", "Ada", "", "2", "2"], "2 s, .* 2 s"),
            (["three", "a.wav", "", "sad", "Ada", "", "2", "1.5"], r"1\.5 s"),
            (["three", "a.wav", "", "sad", "Ada", "", "-1", "2"], "-1 s"),
            (["three", "a.wav", "", "sad", "Ada", "", "0:01", ""], "start is '0:01'"),
            (["three", "a.wav", "", "sad", "Ada", "", "", "nan"], "end is nan"),
            (["three", "a.wav", "", "sad", "Ada", "", "inf", ""], "start is inf"),
            (["three", "a.wav", "", "sad", "Ada", "", "1e305", ""], "start is 1e305"),
            (["three", "a.wav", "", "sad", "Ada", "", "-1e305", ""], "start is -1e305"),
            (["three", "a.wav", "", "sad", "Ada", "", "10000000", ""], "start is 10000000"),
            (["three", "a\0.wav", "", "sad", "Ada", "", "", ""], "there is no file"),
            (["three", "a" * 300 + ".wav", "", "sad", "Ada", "", "", ""], "too long"),
            (["three", "a.wav", "sad"], "3 fields.* 8"),
            (["three", "a.wav", "", "sad", "Ada", "", "", "", "more"], "9 fields.* 8"),
        ],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    def test_invalid_row_is_listed_with_number_and_reason(self, folder, row, expected):
        assert re.search(expected, reason(folder, row))

    def test_rows_that_are_not_text(self, folder):
        path = write(folder, *GOOD)
        path.write_bytes(
            path.read_bytes() + b"three,a.wav,,sad,J\xfcrgen,,,\r\n" + b'four,"' + b"x" * 200_000 + b'",,,,,,\r\n'
        )
        index = index_manifest(path)
        assert len(index.clips) == 2
        assert [aside.what for aside in index.excluded] == ["mine.csv row 4", "mine.csv row 5"]
        encoding, size = (aside.reason for aside in index.excluded)
        assert "UTF-8" in encoding
        assert "131072" in size

    def test_sound_that_starts_before_its_file(self, folder):
        header, row = [*HEADER, "audio_delay"], ["three", "a.wav", "", "sad", "Ada", "", "0.5", "", "-0.75"]
        index = index_manifest(write(folder, *([*good, ""] for good in GOOD), row, header=header))
        (aside,) = index.excluded
        assert "-0.25 s" in aside.reason


class TestSplits:
    def test_split_of_the_corpus(self, folder):
        names = ["train", "val", "test", "dev", "Validation", "TRAIN"]
        rows = [[f"clip {index}", "a.wav", "", label, f"speaker {index}", name, "", ""]
                for index, (name, label) in enumerate(zip(names, ["sad", "happy"] * 3, strict=True))]  # fmt: skip
        index = index_manifest(write(folder, *rows))
        assert [clip.split for clip in index.clips] == ["train", "val", "test", "val", "val", "train"]
        assert index.has_split

    @pytest.mark.parametrize(("split", "expected"), [("holdout", "holdout"), ("", "split is empty")])
    def test_unknown_or_missing_split(self, folder, split, expected):
        rows = [[*good[:5], "train", "", ""] for good in GOOD]
        index = index_manifest(write(folder, *rows, ["three", "a.wav", "", "sad", "Ada", split, "", ""]))
        (aside,) = index.excluded
        assert aside.what == "mine.csv row 4 (clip three)"
        assert expected in aside.reason


class TestPaths:
    """An untrusted manifest must not access files outside its folder."""

    @pytest.fixture
    def inner(self, folder):
        (folder / "inner").mkdir()
        (folder / "inner" / "c.wav").write_bytes(b"anything")
        return folder / "inner"

    @pytest.mark.parametrize("where", ["../a.wav", "faces/../../a.wav", "{folder}/a.wav", "./../a.wav"])
    def test_paths_outside_the_folder_must_be_allowed(self, inner, folder, where):
        (inner / "faces").mkdir()
        row = ["out", where.format(folder=folder), "", "sad", "Ada", "", "", ""]
        path = write(
            inner, row, ["in", "c.wav", "", "happy", "Bo", "", "", ""], ["two", "c.wav", "", "sad", "Bo", "", "", ""]
        )
        index = index_manifest(path)
        assert [clip.clip for clip in index.clips] == ["in", "two"]
        (aside,) = index.excluded
        assert "--data.allow_outside_paths true" in aside.reason
        allowed = index_manifest(path, allow_outside_paths=True)
        assert allowed.excluded == []
        assert next(clip for clip in allowed.clips if clip.clip == "out").audio.resolve() == folder / "a.wav"

    def test_existence_of_outside_files_is_not_revealed(self, inner):
        rows = [
            ["out", "/no/such/file", "", "sad", "Ada", "", "", ""],
            ["up", "../none.wav", "", "sad", "Ada", "", "", ""],
        ]
        with pytest.raises(CorpusNotFoundError) as raised:
            index_manifest(write(inner, *rows))
        assert "there is no file" not in str(raised.value)

    def test_paths_are_relative_to_the_manifest(self, folder, monkeypatch):
        write(folder, *GOOD)
        monkeypatch.chdir(folder / "faces")
        assert index_manifest("../mine.csv").clips[0].audio.exists()


class TestInvalidManifests:
    def test_missing_manifest(self, tmp_path):
        with pytest.raises(CorpusNotFoundError, match=r"gone\.csv"):
            index_manifest(tmp_path / "gone.csv")

    @pytest.mark.parametrize(
        "header, missing",
        [
            (["clip", "audio", "label"], "speaker"),
            (["clip", "audio", "speaker"], "label"),
            (["audio", "label", "speaker"], "clip"),
            (["clip", "label", "speaker"], "audio or video"),
            ([], "clip, label, speaker, audio or video"),
        ],
    )
    def test_missing_column(self, folder, header, missing):
        with pytest.raises(DataError, match=rf"mine\.csv .*{missing}; "):
            index_manifest(write(folder, header=header))

    def test_duplicate_column(self, folder):
        with pytest.raises(DataError, match=r"label more than once"):
            index_manifest(write(folder, header=[*HEADER, "label"]))

    def test_manifest_without_usable_rows(self, folder):
        rows = [[f"clip {index}", "gone.wav", "", "sad", "Ada", "", "", ""] for index in range(7)]
        with pytest.raises(CorpusNotFoundError, match="7") as raised:
            index_manifest(write(folder, *rows))
        assert str(raised.value).count("gone.wav") == 5  # the first ones

    @pytest.mark.parametrize("name", ["mine.csv", "mine.parquet"])
    def test_file_that_is_not_a_table(self, folder, name):
        (folder / name).write_bytes(bytes(range(256)) * 100)
        with pytest.raises(DataError):
            index_manifest(folder / name)


class TestParquet:
    def test_same_clips_as_csv(self, folder):
        table = pa.table(
            {
                "clip": ["one", "two", "three"],
                "audio": ["a.wav", "b.wav", "gone.wav"],
                "video": ["faces/a.mp4", None, None],
                "label": pa.array(["sad", "happy", None]).dictionary_encode(),
                "speaker": [1001, 1002, 1003],
                "start": [0.5, None, float("nan")],
                "end": [2.0, None, None],
            }
        )
        pa.parquet.write_table(table, folder / "mine.parquet")
        index = index_manifest(folder / "mine.parquet")
        csv_path = write(
            folder,
            ["one", "a.wav", "faces/a.mp4", "sad", "1001", "", "0.5", "2"],
            ["two", "b.wav", "", "happy", "1002", "", "", ""],
        )
        assert index.clips == index_manifest(csv_path).clips
        assert [aside.what for aside in index.excluded] == ["mine.parquet row 3 (clip three)"]

    @pytest.mark.parametrize("name", ["written.csv", "written.parquet"])
    def test_round_trip(self, tmp_path, name):
        rows = [
            {"clip": "a, b", "audio": Path("x.wav"), "label": 'so "sad"', "speaker": "Ä", "start": 0.1 + 0.2},
            {"clip": "c", "video": "y.mp4", "label": "", "speaker": "07", "split": "train"},
        ]
        write_rows(tmp_path / name, rows)
        found = [row for _, row in read_rows(tmp_path / name)]
        assert found == [dict.fromkeys(COLUMNS, "") | {key: str(value) for key, value in row.items()} for row in rows]


def test_manifest_of_ravdess_gives_the_same_clips(tiny_videos, tmp_path):
    from crossmodal.datasets.recipes import list_ravdess

    index = index_ravdess(tiny_videos)
    write_rows(tmp_path / "ravdess.csv", list_ravdess(tiny_videos).rows)
    assert index_manifest(tmp_path / "ravdess.csv", allow_outside_paths=True).clips == index.clips


def test_parquet_with_invalid_utf_8(folder):
    path = folder / "mine.parquet"
    text = pa.array([b"a\xff", b"b"]).view(pa.string())
    pa.parquet.write_table(pa.table({"clip": text, "audio": ["a.wav"] * 2, "label": ["x", "y"], "speaker": text}), path)
    with pytest.raises(DataError, match="Parquet"):
        index_manifest(path)
