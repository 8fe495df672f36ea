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
    """Files to name in a manifest; nothing of them is decoded."""
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
    """Why a row is set aside that stands below two good ones."""
    index = index_manifest(write(folder, *GOOD, row, header=header))
    assert [clip.clip for clip in index.clips] == ["one", "two"]
    (aside,) = index.set_aside
    assert aside.what.startswith("mine.csv row 4")
    return aside.reason


class TestRows:
    def test_a_row_is_a_clip(self, folder):
        index = index_manifest(write(folder, *GOOD))
        one = Clip("one", "Ada", "sad", audio=folder / "a.wav", video=folder / "faces/a.mp4")
        two = Clip("two", "Bo", "happy", audio=folder / "b.wav")
        assert (index.clips, index.set_aside, index.name) == ([one, two], [], "mine")
        assert not index.has_split

    def test_empty_audio_is_the_sound_of_the_video(self, folder):
        clip, _ = index_manifest(write(folder, ["one", "", "faces/a.mp4", "sad", "Ada", "", "", ""], GOOD[1])).clips
        assert (clip.audio, clip.video) == (folder / "faces/a.mp4", folder / "faces/a.mp4")

    def test_a_clip_can_be_a_piece_of_its_files(self, folder):
        rows = [
            ["one", "a.wav", "faces/a.mp4", "sad", "Ada", "", "1.5", "2.7"],
            ["two", "a.wav", "", "happy", "Ada", "", "3", ""],
        ]
        one, two = index_manifest(write(folder, *rows)).clips
        assert (one.audio_start, one.video_start, one.duration) == (1.5, 1.5, 1.2)
        assert (two.audio_start, two.duration) == (3.0, None)

    def test_sound_can_come_late(self, folder):
        header, row = [*HEADER, "audio_delay"], ["one", "a.wav", "faces/a.mp4", "sad", "Ada", "", "1", "2", "0.25"]
        clip, _ = index_manifest(write(folder, row, [*GOOD[1], ""], header=header)).clips
        assert (clip.audio_start, clip.video_start, clip.duration) == (1.25, 1.0, 1.0)

    def test_a_row_without_a_label_is_unlabelled_and_of_no_class(self, folder):
        index = index_manifest(write(folder, *GOOD, ["three", "a.wav", "", "", "Cy", "", "", ""]))
        assert [clip.label for clip in index.clips] == ["sad", None, "happy"]
        assert index.labels == ("happy", "sad")

    def test_clips_are_in_the_order_of_their_names_whatever_that_of_the_rows(self, folder):
        assert index_manifest(write(folder, *GOOD)).clips == index_manifest(write(folder, *reversed(GOOD))).clips

    def test_columns_may_stand_in_any_order_among_others(self, folder):
        header = ["Speaker", "age", "LABEL", " clip ", "audio"]
        path = write(folder, ["Ada", "9", "sad", "one", "a.wav"], ["Bo", "8", "happy", "two", "b.wav"], header=header)
        assert [(clip.clip, clip.actor, clip.label) for clip in index_manifest(path).clips] == [
            ("one", "Ada", "sad"),
            ("two", "Bo", "happy"),
        ]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_what_spreadsheets_write_is_read(self, folder, delimiter):
        path = write(folder, *GOOD, delimiter=delimiter)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
        index = index_manifest(path)
        assert len(index.clips) == 2
        assert index.set_aside == []

    def test_a_clip_may_be_called_by_a_file_of_ravdess(self, folder):
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
    def test_their_order(self, folder, labels, expected):
        rows = [[f"clip {label}", "a.wav", "", label, "Ada", "", "", ""] for label in labels]
        assert index_manifest(write(folder, *rows)).labels == expected

    @pytest.mark.parametrize("labels", [("sad", "sad"), ("", "")])
    def test_one_label_is_none(self, folder, labels):
        rows = [[f"clip {place}", "a.wav", "", label, "Ada", "", "", ""] for place, label in enumerate(labels)]
        with pytest.raises(DataError, match=r"mine\.csv needs two labels or more to tell apart; in its rows occur"):
            index_manifest(write(folder, *rows))


class TestWhatIsSetAside:
    @pytest.mark.parametrize(
        "row, expected",
        [
            (["one", "b.wav", "", "sad", "Ada", "", "", ""], "there is a row of the same clip above it"),
            (["three", "gone.wav", "", "sad", "Ada", "", "", ""], r"there is no file .*gone\.wav"),
            (["three", "a.wav", "gone.mp4", "sad", "Ada", "", "", ""], r"there is no file .*gone\.mp4"),
            (["three", "faces", "", "sad", "Ada", "", "", ""], "there is no file .*faces"),
            (["three", "", "", "sad", "Ada", "", "", ""], "it has neither sound nor video"),
            (["three", "a.wav", "", "sad", "", "", "", ""], "its speaker is empty"),
            (["", "a.wav", "", "sad", "Ada", "", "", ""], "its clip is empty"),
            (["three", "a.wav", "", "sad", "Ada", "", "2", "2"], "it ends at 2 s, which is not after its start at 2 s"),
            (["three", "a.wav", "", "sad", "Ada", "", "2", "1.5"], "it ends at 1.5 s, which is not after"),
            (["three", "a.wav", "", "sad", "Ada", "", "-1", "2"], "it starts at -1 s, before its files do"),
            (["three", "a.wav", "", "sad", "Ada", "", "0:01", ""], "start is '0:01', and no number of seconds"),
            (["three", "a.wav", "", "sad", "Ada", "", "", "nan"], "end is nan, and no number of seconds"),
            (["three", "a.wav", "", "sad", "Ada", "", "inf", ""], "start is inf, and no number of seconds"),
            (["three", "a.wav", "sad"], "it has 3 fields, and the header 8"),
            (["three", "a.wav", "", "sad", "Ada", "", "", "", "more"], "it has 9 fields, and the header 8"),
        ],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    def test_a_bad_row_is_named_with_its_number_and_its_reason(self, folder, row, expected):
        assert re.match(expected, reason(folder, row))

    def test_what_is_no_text(self, folder):
        path = write(folder, *GOOD)
        path.write_bytes(
            path.read_bytes() + b"three,a.wav,,sad,J\xfcrgen,,,\r\n" + b'four,"' + b"x" * 200_000 + b'",,,,,,\r\n'
        )
        index = index_manifest(path)
        assert len(index.clips) == 2
        assert [(aside.what, aside.reason) for aside in index.set_aside] == [
            ("mine.csv row 4", "it is not UTF-8"),
            ("mine.csv row 5", "it cannot be read (field larger than field limit (131072))"),
        ]

    def test_sound_that_begins_before_its_file(self, folder):
        header, row = [*HEADER, "audio_delay"], ["three", "a.wav", "", "sad", "Ada", "", "0.5", "", "-0.75"]
        index = index_manifest(write(folder, *([*good, ""] for good in GOOD), row, header=header))
        assert [aside.reason for aside in index.set_aside] == ["it starts at -0.25 s, before its files do"]


class TestSplits:
    def test_the_split_that_a_corpus_names(self, folder):
        names = ["train", "val", "test", "dev", "Validation", "TRAIN"]
        rows = [[f"clip {place}", "a.wav", "", label, f"who {place}", name, "", ""]
                for place, (name, label) in enumerate(zip(names, ["sad", "happy"] * 3, strict=True))]  # fmt: skip
        index = index_manifest(write(folder, *rows))
        assert [clip.split for clip in index.clips] == ["train", "val", "test", "val", "val", "train"]
        assert index.has_split

    def test_a_name_of_no_split(self, folder):
        rows = [[*good[:5], "train", "", ""] for good in GOOD]
        index = index_manifest(write(folder, *rows, ["three", "a.wav", "", "sad", "Ada", "holdout", "", ""]))
        assert [aside.reason for aside in index.set_aside] == [
            "its split is holdout, and none of train, val, test, dev, valid, validation"
        ]

    def test_a_row_without_one_among_rows_with_one(self, folder):
        rows = [[*good[:5], "train", "", ""] for good in GOOD]
        index = index_manifest(write(folder, *rows, ["three", "a.wav", "", "sad", "Ada", "", "", ""]))
        (aside,) = index.set_aside
        assert aside.what == "mine.csv row 4 (clip three)"
        assert aside.reason.startswith("its split is empty, and none of train")


class TestPaths:
    """A manifest of a stranger's must not have files read that lie elsewhere."""

    @pytest.fixture
    def inner(self, folder):
        (folder / "inner").mkdir()
        (folder / "inner" / "c.wav").write_bytes(b"anything")
        return folder / "inner"

    @pytest.mark.parametrize("where", ["../a.wav", "faces/../../a.wav", "{folder}/a.wav", "./../a.wav"])
    def test_nothing_outside_of_the_folder_is_read_unless_that_is_allowed(self, inner, folder, where):
        (inner / "faces").mkdir()
        row = ["out", where.format(folder=folder), "", "sad", "Ada", "", "", ""]
        path = write(
            inner, row, ["in", "c.wav", "", "happy", "Bo", "", "", ""], ["two", "c.wav", "", "sad", "Bo", "", "", ""]
        )
        index = index_manifest(path)
        assert [clip.clip for clip in index.clips] == ["in", "two"]
        (aside,) = index.set_aside
        assert "may lie outside of the manifest's folder: --data.allow_outside_paths true" in aside.reason
        allowed = index_manifest(path, allow_outside_paths=True)
        assert allowed.set_aside == []
        assert next(clip for clip in allowed.clips if clip.clip == "out").audio.resolve() == folder / "a.wav"

    def test_not_even_whether_a_file_is_there_is_told(self, inner):
        rows = [
            ["out", "/no/such/file", "", "sad", "Ada", "", "", ""],
            ["up", "../none.wav", "", "sad", "Ada", "", "", ""],
        ]
        with pytest.raises(CorpusNotFoundError) as raised:
            index_manifest(write(inner, *rows))
        assert "there is no file" not in str(raised.value)

    def test_paths_are_those_of_the_manifests_folder_wherever_one_stands(self, folder, monkeypatch):
        write(folder, *GOOD)
        monkeypatch.chdir(folder / "faces")
        assert index_manifest("../mine.csv").clips[0].audio.exists()

    def test_a_name_that_no_file_can_have(self, folder):
        assert "there is no file" in reason(folder, ["three", "a\0.wav", "", "sad", "Ada", "", "", ""])


class TestWhatIsRefused:
    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(CorpusNotFoundError, match=r"There is no manifest .*gone\.csv: give a CSV or Parquet file"):
            index_manifest(tmp_path / "gone.csv")

    @pytest.mark.parametrize(
        "header, lacking",
        [
            (["clip", "audio", "label"], "speaker"),
            (["clip", "audio", "speaker"], "label"),
            (["audio", "label", "speaker"], "clip"),
            (["clip", "label", "speaker"], "audio or video"),
            ([], "clip, label, speaker, audio or video"),
        ],
    )
    def test_a_table_that_lacks_a_column(self, folder, header, lacking):
        with pytest.raises(DataError, match=rf"mine\.csv lacks the column\(s\) {lacking}: it has "):
            index_manifest(write(folder, header=header))

    def test_a_column_twice(self, folder):
        with pytest.raises(DataError, match=r"has the column\(s\) label more than once"):
            index_manifest(write(folder, header=[*HEADER, "label"]))

    def test_a_manifest_of_which_nothing_can_be_used(self, folder):
        rows = [[f"clip {place}", "gone.wav", "", "sad", "Ada", "", "", ""] for place in range(7)]
        with pytest.raises(CorpusNotFoundError, match=r"holds no clip that can be used; 7 were set aside") as raised:
            index_manifest(write(folder, *rows))
        assert str(raised.value).count("there is no file") == 5  # the first ones

    @pytest.mark.parametrize("name", ["mine.csv", "mine.parquet"])
    def test_what_is_no_table(self, folder, name):
        (folder / name).write_bytes(bytes(range(256)) * 100)
        with pytest.raises(DataError):
            index_manifest(folder / name)


class TestParquet:
    def test_it_says_what_a_csv_says(self, folder):
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
        assert [aside.what for aside in index.set_aside] == ["mine.parquet row 3 (clip three)"]

    @pytest.mark.parametrize("name", ["written.csv", "written.parquet"])
    def test_what_is_written_is_read(self, tmp_path, name):
        rows = [
            {"clip": "a, b", "audio": Path("x.wav"), "label": 'so "sad"', "speaker": "Ä", "start": 0.1 + 0.2},
            {"clip": "c", "video": "y.mp4", "label": "", "speaker": "07", "split": "train"},
        ]
        write_rows(tmp_path / name, rows)
        found = [row for _, row in read_rows(tmp_path / name)]
        assert found == [dict.fromkeys(COLUMNS, "") | {key: str(value) for key, value in row.items()} for row in rows]


def test_a_manifest_of_ravdess_names_its_clips_speakers_and_times(tiny_videos, tmp_path):
    from crossmodal.datasets.recipes import list_ravdess

    index = index_ravdess(tiny_videos)
    write_rows(tmp_path / "ravdess.csv", list_ravdess(tiny_videos).rows)
    assert index_manifest(tmp_path / "ravdess.csv", allow_outside_paths=True).clips == index.clips


@pytest.mark.parametrize("time", ["1e305", "-1e305", "10000000", "nan", "inf"])
def test_times_that_no_recording_has_are_told(folder, time):
    assert "no number of seconds" in reason(folder, ["three", "a.wav", "", "sad", "Cy", "", time, ""])


def test_a_name_that_is_too_long_for_a_file_is_told(folder):
    assert "cannot be looked for" in reason(folder, ["three", "a" * 300 + ".wav", "", "sad", "Cy", "", "", ""])


def test_text_of_a_parquet_table_that_is_no_utf_8_is_told(folder):
    path = folder / "mine.parquet"
    text = pa.array([b"a\xff", b"b"]).view(pa.string())
    pa.parquet.write_table(pa.table({"clip": text, "audio": ["a.wav"] * 2, "label": ["x", "y"], "speaker": text}), path)
    with pytest.raises(DataError, match="cannot be read as a Parquet table"):
        index_manifest(path)
