import csv
import unicodedata
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet
import pytest

from crossmodal.datasets import index_manifest
from crossmodal.datasets.manifest_values import merge_labels, speaker_name
from crossmodal.errors import DataError


@pytest.fixture
def index_of(tmp_path):
    """Return a function that indexes a CSV table of clips with these values of one column."""

    def index(**column):
        ((name, values),) = column.items()
        (tmp_path / "a.wav").write_bytes(b"anything")
        with (tmp_path / "mine.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["clip", "audio", "video", "label", "speaker", "split", "start"])
            writer.writeheader()
            for number, value in enumerate(values):
                known = {"clip": f"c{number}", "audio": "a.wav", "label": ("sad", "happy")[number % 2], "speaker": "s"}
                writer.writerow(known | {"start": number, name: value})
        return index_manifest(tmp_path / "mine.csv")

    return index


class TestSpeakers:
    """A speaker has one name in every table, so that a model is not tested on its training speakers."""

    @pytest.mark.parametrize(
        "name, expected",
        [
            *((name, "01") for name in ("1", "01", "001", "1.0", "1.00", "1,0", "01.0")),
            *((name, "1001") for name in ("1001", "1001.0", "01001")),
            *((name, "00") for name in ("0", "0.0", "000")),
            *((name, "Zoë B") for name in ("Zoë B", unicodedata.normalize("NFD", "Zoë B"), "Zoë   B", "Zoë\u00a0B")),
            *((name, name) for name in ("1.5", "P07", "-1", "0x1", "1e3", "", "1.", "٣")),
            ("9" * 100_000, "9" * 100_000),
        ],
    )
    def test_spellings_of_one_name(self, name, expected):
        assert speaker_name(name) == expected == speaker_name(expected)

    @pytest.mark.parametrize(
        "column",
        [
            pa.array([1, 2, 3]),
            pa.array([1.0, 2.0, 3.0]),
            pa.array(["1", "2.0", "03"]),
            pa.array([Decimal("1.00"), Decimal("2.00"), Decimal("3.00")]),
            pa.array(["01", "02", "03"]).dictionary_encode(),
        ],
    )
    def test_same_speakers_in_csv_and_parquet(self, index_of, tmp_path, column):
        tables = [index_of(speaker=spelling) for spelling in (["1", "2", "3"], ["1.0", "2.0", "3.0"])]
        columns = {"clip": ["c0", "c1", "c2"], "audio": ["a.wav"] * 3, "label": ["sad", "happy", "sad"]}
        pa.parquet.write_table(pa.table(columns | {"speaker": column}), tmp_path / "mine.parquet")
        tables.append(index_manifest(tmp_path / "mine.parquet"))
        assert [[clip.actor for clip in table.clips] for table in tables] == [["01", "02", "03"]] * 3


def test_whole_numbers_are_the_same_labels_with_and_without_decimals(index_of):
    assert index_of(label=["1.0", "0.0", "", "1"]).labels == ("0", "1")  # pandas, for a column with a gap


class TestLabels:
    @pytest.mark.parametrize(
        "missing", ["nan", "NaN", "None", "none", "NA", "N/A", "#N/A", "<NA>", "null", "-", " - ", "NAN "]
    )
    def test_words_for_a_missing_value_are_no_class(self, index_of, capsys, missing):
        index = index_of(label=["sad", missing, "happy", ""])
        assert [clip.label for clip in index.clips] == ["sad", None, "happy", None]
        assert index.labels == ("happy", "sad")
        assert f"mine.csv: 1 row(s) with the label {missing.strip()} are unlabelled" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "labels, expected",
        [
            (["sad", "Sad", "SAD ", "happy"], ["sad", "sad", "sad", "happy"]),
            (["Sad", "Sad", "sad", "happy"], ["sad", "sad", "sad", "happy"]),  # RAVDESS's spelling
            (["Bored", "Bored", "bored", "happy"], ["Bored", "Bored", "Bored", "happy"]),  # the frequent one
            (["very  calm", "very calm", "Verycalm", "x"], ["very calm", "very calm", "very calm", "x"]),
            (["müde", unicodedata.normalize("NFD", "müde"), "MÜDE", "x"], ["müde", "müde", "müde", "x"]),
            (["sad", "sad.", "happy", "nano"], ["sad", "sad.", "happy", "nano"]),
        ],
    )
    def test_labels_that_differ_in_case_or_spaces_are_one_class(self, index_of, capsys, labels, expected):
        index = index_of(label=labels)
        assert [clip.label for clip in index.clips] == expected
        assert bool(index.notes) == (len({*expected}) < 3)
        assert capsys.readouterr().err.splitlines() == [f"mine.csv: {note}" for note in index.notes]

    def test_only_missing_labels_and_only_one_class(self, index_of):
        for labels in (["nan", "None"], ["sad", "Sad"]):
            with pytest.raises(DataError, match="two"):
                index_of(label=labels)

    def test_class_does_not_depend_on_the_order_of_rows(self):
        assert merge_labels(["b", "B"])[0] == {"b": "B", "B": "B"} == merge_labels(["B", "b"])[0]


@pytest.mark.parametrize("missing", ["nan", "NA", "-", "None"])
def test_words_for_a_missing_value_in_other_columns(index_of, missing):
    index = index_of(speaker=["Ada", "Bo", missing])
    assert [clip.actor for clip in index.clips] == ["Ada", "Bo"]
    assert [row.reason for row in index.excluded] == [f"its speaker is {missing}"]
    index = index_of(split=[missing, missing])
    assert not index.has_split
    index = index_of(video=[missing, missing])
    assert [clip.video for clip in index.clips] == [None, None]
