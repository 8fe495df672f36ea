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


GOOD = (["one", "a.wav", "faces/a.mp4", "sad", "Ada", "", "", ""], ["two", "b.wav", "", "happy", "Bo", "", "", ""])


def row(clip="three", audio="a.wav", video="", label="sad", speaker="Ada", split="", start="", end=""):
    return [clip, audio, video, label, speaker, split, start, end]


class TestRows:
    def test_row_is_a_clip(self, folder):
        index = index_manifest(write(folder, *reversed(GOOD), row("three", label="")))  # clips are sorted by name
        one = Clip("one", "Ada", "sad", audio=folder / "a.wav", video=folder / "faces/a.mp4")
        two, three = (
            Clip("two", "Bo", "happy", audio=folder / "b.wav"),
            Clip("three", "Ada", None, audio=folder / "a.wav"),
        )
        assert (index.clips, index.excluded) == ([one, three, two], [])
        assert index.labels == ("happy", "sad")
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

    def test_columns_can_have_any_order_and_clips_the_names_of_ravdess_files(self, folder):
        header = ["Speaker", "age", "LABEL", " clip ", "audio"]
        rows = [["Ada", "9", "sad", "03-01-06-01-02-01-12.wav", "a.wav"], ["Bo", "8", "happy", "take 2.1", "b.wav"]]
        clips = index_manifest(write(folder, *rows, header=header)).clips
        expected = [("01-06-01-02-01-12", "Ada", "sad"), ("take 2.1", "Bo", "happy")]
        assert [(clip.clip, clip.actor, clip.label) for clip in clips] == expected

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_csv_from_spreadsheets(self, folder, delimiter):
        path = write(folder, *GOOD, delimiter=delimiter)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
        index = index_manifest(path)
        assert len(index.clips) == 2
        assert index.excluded == []


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
        assert (
            index_manifest(
                write(folder, *(row(f"clip {label}", label=label, speaker=label) for label in labels))
            ).labels
            == expected
        )

    @pytest.mark.parametrize("label", ["sad", ""])
    def test_fewer_than_two_labels(self, folder, label):
        with pytest.raises(DataError, match=r"mine\.csv .*two"):
            index_manifest(write(folder, *(row(name, label=label) for name in ("one", "two"))))


class TestExcludedRows:
    @pytest.mark.parametrize(
        "invalid, expected",
        [
            (row("one"), "same clip"),
            (row("three", "a.wav", "faces/a.mp4"), "same recording: clip one, label sad"),
            (row("three", "b.wav", label="", speaker="Bo"), "same recording: clip two, label happy"),
            (row("three", "./b.wav", speaker="Bo"), "same recording: clip two, label happy"),
            (row(audio="gone.wav"), r"gone\.wav"),
            (row(video="gone.mp4"), r"gone\.mp4"),
            (row(audio="faces"), "faces"),
            (row(audio=""), "neither sound nor video"),
            (row(speaker=""), "speaker is empty"),
            (row(""), "clip is empty"),
            (row(start="2", end="2"), "2 s, .* 2 s"),
            (row(start="2", end="1.5"), r"1\.5 s"),
            (row(start="-1", end="2"), "-1 s"),
            (row(end="nan"), "end is nan"),
            *((row(start=start), f"start is '?{start}") for start in ("0:01", "inf", "1e305", "-1e305", "10000000")),
            (row(audio="a\0.wav"), "there is no file"),
            (row(audio="a" * 300 + ".wav"), "too long"),
            (["three", "a.wav", "sad"], "3 fields.* 9"),
            ([*row(), "", "more"], "10 fields.* 9"),
            ([*row(start="0.5"), "-0.75"], r"-0\.25 s"),  # the sound starts before its file
        ],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    def test_invalid_row_is_listed_with_number_and_reason(self, folder, invalid, expected):
        missing = [""] * (len(invalid) == len(HEADER))
        rows = ([*one, ""] for one in GOOD)
        index = index_manifest(write(folder, *rows, [*invalid, *missing], header=[*HEADER, "audio_delay"]))
        assert [clip.clip for clip in index.clips] == ["one", "two"]
        (aside,) = index.excluded
        assert aside.what.startswith("mine.csv row 4")
        assert re.search(expected, aside.reason)

    def test_rows_that_are_not_text(self, folder):
        path = write(folder, *GOOD)
        more = b"three,a.wav,,sad,J\xfcrgen,,,\r\n" + b'four,"' + b"x" * 200_000 + b'",,,,,,\r\n'
        path.write_bytes(path.read_bytes() + more)
        index = index_manifest(path)
        assert len(index.clips) == 2
        assert [aside.what for aside in index.excluded] == ["mine.csv row 4", "mine.csv row 5"]
        encoding, size = (aside.reason for aside in index.excluded)
        assert "UTF-8" in encoding
        assert "131072" in size


class TestSex:
    """The optional column `sex` of the speaker."""

    def read(self, folder, *values):
        """Index rows of different speakers with a recording each."""
        rows = []
        for n, (speaker, sex) in enumerate(values):
            rows.append([*row(f"clip {n}", label=("sad", "happy")[n % 2], speaker=speaker, start=f"{n}"), sex])
        return index_manifest(write(folder, *rows, header=[*HEADER, "Sex"]))

    def test_spellings(self, folder):
        values = ["female", "F", "Woman", "male", "m", "MAN", "", "nan", "-"]
        index = self.read(folder, *((f"s{n}", value) for n, value in enumerate(values)))
        assert [clip.sex for clip in index.clips] == ["female"] * 3 + ["male"] * 3 + [None] * 3
        assert index.excluded == []

    def test_other_values_exclude_the_row(self, folder):
        index = self.read(folder, ("Ada", "f"), ("Bo", "m"), ("Cy", "2"))
        assert [clip.actor for clip in index.clips] == ["Ada", "Bo"]
        (aside,) = index.excluded
        assert aside.what == "mine.csv row 4 (clip clip 2)"
        assert "sex is 2" in aside.reason
        assert "female" in aside.reason

    def test_two_values_for_a_speaker_exclude_the_later_row(self, folder):
        index = self.read(folder, ("1", "f"), ("Bo", "m"), ("01", ""), ("1.0", "male"))
        assert [(clip.actor, clip.sex) for clip in index.clips] == [("01", "female"), ("Bo", "male"), ("01", "female")]
        (aside,) = index.excluded
        assert aside.what.startswith("mine.csv row 5")
        assert "speaker 01 has female" in aside.reason

    def test_the_same_recording_is_found_with_and_without_a_value(self, folder):
        rows = [[*one, sex] for one, sex in zip((*GOOD, row("three", *GOOD[0][1:3])), ("f", "", ""), strict=True)]
        (aside,) = index_manifest(write(folder, *rows, header=[*HEADER, "sex"])).excluded
        assert "same recording" in aside.reason


class TestSplits:
    def test_split_of_the_corpus(self, folder):
        names = ["train", "val", "test", "dev", "Validation", "TRAIN"]
        rows = [
            row(f"clip {n}", label=("sad", "happy")[n % 2], split=name, speaker=f"{n}") for n, name in enumerate(names)
        ]
        index = index_manifest(write(folder, *rows))
        assert [clip.split for clip in index.clips] == ["train", "val", "test", "val", "val", "train"]
        assert index.has_split

    @pytest.mark.parametrize(("split", "expected"), [("holdout", "holdout"), ("", "split is empty")])
    def test_unknown_or_missing_split(self, folder, split, expected):
        rows = [[*good[:5], "train", "", ""] for good in GOOD]
        index = index_manifest(write(folder, *rows, row(split=split)))
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
        outside = where.format(folder=folder)
        rows = (row("out", outside), row("in", "c.wav", label="happy"), row("two", "c.wav", start="1"))
        path = write(inner, *rows)
        index = index_manifest(path)
        assert [clip.clip for clip in index.clips] == ["in", "two"]
        (aside,) = index.excluded
        assert "--data.allow_outside_paths true" in aside.reason
        with pytest.raises(CorpusNotFoundError) as raised:
            index_manifest(write(inner, row("out", "/no/such/file"), row("up", "../none.wav")))
        assert "there is no file" not in str(raised.value)  # the existence of outside files is not revealed
        write(inner, *rows)
        allowed = index_manifest(path, allow_outside_paths=True)
        assert allowed.excluded == []
        assert next(clip for clip in allowed.clips if clip.clip == "out").audio.resolve() == folder / "a.wav"

    def test_paths_are_relative_to_the_manifest(self, folder, monkeypatch):
        write(folder, *GOOD)
        monkeypatch.chdir(folder / "faces")
        assert index_manifest("../mine.csv").clips[0].audio.exists()


class TestInvalidManifests:
    @pytest.mark.parametrize(
        "header, missing",
        [
            (["clip", "audio", "label"], "speaker; "),
            (["clip", "audio", "speaker"], "label; "),
            (["audio", "label", "speaker"], "clip; "),
            (["clip", "label", "speaker"], "audio or video; "),
            ([], "clip, label, speaker, audio or video; "),
            ([*HEADER, "label"], "label more than once"),
        ],
    )
    def test_missing_or_duplicate_column(self, folder, header, missing):
        with pytest.raises(DataError, match=rf"mine\.csv .*{missing}"):
            index_manifest(write(folder, header=header))

    def test_manifest_without_usable_rows(self, folder):
        rows = [row(f"clip {index}", "gone.wav") for index in range(7)]
        with pytest.raises(CorpusNotFoundError, match="7") as raised:
            index_manifest(write(folder, *rows))
        assert str(raised.value).count("gone.wav") == 5  # the first ones

    @pytest.mark.parametrize("name", ["mine.csv", "mine.parquet"])
    def test_missing_file_and_file_that_is_not_a_table(self, folder, name):
        with pytest.raises(CorpusNotFoundError, match=re.escape(name)):
            index_manifest(folder / name)
        (folder / name).write_bytes(bytes(range(256)) * 100)
        with pytest.raises(DataError):
            index_manifest(folder / name)

    def test_parquet_with_invalid_utf_8(self, folder):
        text = pa.array([b"a\xff", b"b"]).view(pa.string())
        columns = {"clip": text, "audio": ["a.wav"] * 2, "label": ["x", "y"], "speaker": text}
        pa.parquet.write_table(pa.table(columns), folder / "mine.parquet")
        with pytest.raises(DataError, match="Parquet"):
            index_manifest(folder / "mine.parquet")


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
        rows = [
            ["one", "a.wav", "faces/a.mp4", "sad", "1001", "", "0.5", "2"],
            row("two", "b.wav", "", "happy", "1002"),
        ]
        assert index.clips == index_manifest(write(folder, *rows)).clips
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


def test_a_file_name_that_is_not_utf_8_is_an_error_of_its_row_only(tmp_path):
    rows = [{"clip": name, "audio": audio, "label": "x"} for name, audio in (("a", "\udcff.wav"), ("b", "b.wav"))]
    write_rows(tmp_path / "mine.csv", rows)
    (_, error), (_, found) = read_rows(tmp_path / "mine.csv")
    assert "UTF-8" in error
    assert found["audio"] == "b.wav"


def test_manifest_of_ravdess_gives_the_same_clips(tiny_videos, tmp_path):
    from crossmodal.datasets.recipes import list_ravdess

    index = index_ravdess(tiny_videos)
    write_rows(tmp_path / "ravdess.csv", list_ravdess(tiny_videos).rows)
    assert index_manifest(tmp_path / "ravdess.csv", allow_outside_paths=True).clips == index.clips
