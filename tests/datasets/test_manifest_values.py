import csv
import unicodedata
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet
import pytest

from crossmodal.datasets import index_manifest
from crossmodal.datasets.manifest_values import speaker_name


@pytest.fixture
def index_of(tmp_path):
    """Return a function that indexes a CSV table of clips with these values of one column."""

    def index(**column):
        ((name, values),) = column.items()
        (tmp_path / "a.wav").write_bytes(b"anything")
        with (tmp_path / "mine.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["clip", "audio", "label", "speaker"])
            writer.writeheader()
            for number, value in enumerate(values):
                known = {"clip": f"c{number}", "audio": "a.wav", "label": ("sad", "happy")[number % 2], "speaker": "s"}
                writer.writerow(known | {name: value})
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
