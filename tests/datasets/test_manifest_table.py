"""Tables as spreadsheets and other tools write them."""

import pyarrow as pa
import pyarrow.parquet
import pytest

from crossmodal.datasets import index_manifest
from crossmodal.errors import CorpusNotFoundError, DataError

HEADER = "clip,audio,label,speaker,start,end,split"
ROWS = ["a,w/a.wav,sad,1,0.0,0.5,train", "b,w/a.wav,happy,2,0.5,1.25,test"]
PLAIN = "\r\n".join([HEADER, *ROWS, ""])
GERMAN = PLAIN.replace(",", ";").replace("0.", "0,").replace("1.", "1,")  # decimal commas


@pytest.fixture
def index(tmp_path):
    """Return a function that indexes a CSV table of files that exist."""
    for name in ("w/a.wav", "w/b.wav", "v/a.wav", "w/b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"anything")

    def read(content, name="mine.csv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return index_manifest(tmp_path / name)

    return read


@pytest.mark.parametrize(
    "content",
    [
        GERMAN,
        GERMAN.replace("0,0;0,5", "0,000;0,500").replace("1,25", "1,250"),
        GERMAN.replace(";", "\t"),
        PLAIN.replace(",", "|"),
        *(line + PLAIN.replace(",", ";") for line in ("sep=;\r\n", '"sep=;"\r\n', "SEP=;\n", "\r\nsep=;\r\n")),
        "\ufeffsep=,\r\n" + PLAIN,
        *(PLAIN.replace(",", "\t").encode(encoding) for encoding in ("utf-16", "utf-16-le", "utf-16-be")),
        b"\xfe\xff" + PLAIN.replace(",", "\t").encode("utf-16-be"),
        b"\xff\xfe" + ("sep=;\r\n" + GERMAN).encode("utf-16-le"),
        "\r\n".join(", ".join(f'"{field}"' for field in line.split(",")) for line in (HEADER, *ROWS)),
        *(blank + PLAIN for blank in ("\n", "\r\n\r\n", ";;;\r\n", ",,,,,,\r\n", " \t\r\n", "\ufeff\r\n")),
        "\r\n".join([HEADER, *(row + ",," for row in ROWS), ",,,,,,,,"]),  # empty fields, and an empty row
        "\r\n".join([HEADER + ",,", ROWS[0] + ",,", ROWS[1]]),
        "\r\n".join([HEADER + ",", ROWS[0] + ",a remark", ROWS[1] + ","]),
        PLAIN.replace("/", "\\"),
        PLAIN.replace("train", "training").replace("test", "Testing"),
        PLAIN.replace("speaker", "Speaker ").replace("clip", '" Clip"'),
        PLAIN.replace("\r\n", "\r"),
    ],
)
def test_table_is_read_as_the_plain_one(index, content):
    expected = index(PLAIN).clips
    assert [(clip.audio_start, clip.duration, clip.split) for clip in expected] == [
        (0.0, 0.5, "train"),
        (0.5, 0.75, "test"),
    ]
    found = index(content)
    assert (found.clips, found.excluded, found.notes) == (expected, [], [])


@pytest.mark.parametrize(
    "delimiter, text, seconds",
    [
        *((";", "1,500", 1.5), (";", ",5", 0.5), (";", "1.000,5", None)),
        *(("\t", "1,5", 1.5), ("\t", "0,500", 0.5), ("\t", "1,500", None)),
        *((",", '"1,500"', None), (",", '"1,5"', 1.5), (",", "1.500", 1.5)),
    ],
)
def test_decimal_comma_is_never_read_as_a_thousand(index, delimiter, text, seconds):
    lines = ["clip audio label speaker end", "a w/a.wav sad 1 9", "b w/a.wav happy 2 9", f"c w/a.wav sad 3 {text}"]
    found = index("\n".join(line.replace(" ", delimiter) for line in lines))
    assert [clip.duration for clip in found.clips] == [9, 9] + [seconds] * (seconds is not None)
    assert ["number" in row.reason for row in found.excluded] == [True] * (seconds is None)


def test_rows_are_counted_as_in_the_spreadsheet(index):
    found = index("sep=,\n\n" + PLAIN + "c,w/gone.wav,sad,3,,,train\n")
    assert [row.what for row in found.excluded] == ["mine.csv row 5 (clip c)"]


@pytest.mark.parametrize(
    "content, cause",
    [
        (b"PK\x03\x04" + bytes(100), "spreadsheet"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), "spreadsheet"),
        (b"\xff\xfe" + PLAIN.encode("utf-16-le")[:-3] + b"\xd8", "UTF-16"),
        (PLAIN.replace("sad", "fröhlich").replace("happy", "müde").encode("cp1252"), "CSV UTF-8"),
    ],
)
def test_message_names_the_cause(index, content, cause):
    with pytest.raises(DataError, match=cause):
        index(content)


class TestColumnsOfOtherTools:
    @pytest.mark.parametrize("file", ["path", "file", "filename", "File Name", "file_path"])
    @pytest.mark.parametrize("speaker", ["speaker_id", "actor", "Actor_ID", "speaker"])
    def test_are_read_with_a_line(self, index, capsys, file, speaker):
        found = index(f"{file};{speaker};Emotion\nw/a.wav;1;sad\nv/a.wav;2;happy\nw/b.mp4;3;sad\n")
        clips = [(clip.clip, clip.actor, clip.label, clip.video and clip.video.name) for clip in found.clips]
        assert clips == [
            ("v/a", "02", "happy", None),
            ("w/a", "01", "sad", None),
            ("w/b", "03", "sad", "b.mp4"),
        ]
        assert capsys.readouterr().err.splitlines() == [f"mine.csv: {note}" for note in found.notes]
        assert len(found.notes) == 4 - (speaker == "speaker")

    def test_own_names_win(self, index):
        found = index("clip,path,audio,label,emotion,speaker,actor\na,x,w/a.wav,sad,x,1,x\nb,x,w/a.wav,happy,x,2,x\n")
        assert [(clip.label, clip.actor) for clip in found.clips] == [("sad", "01"), ("happy", "02")]
        assert found.notes == []

    @pytest.mark.parametrize(
        "header, cause",
        [
            ("clip,path,filename,label,speaker", "rename one of them to audio or video"),
            ("clip,audio,label,speaker_id,actor", "rename one of them to speaker"),
            ("clip,path,path,label,speaker", "rename one"),
            ("path,label,speaker,start", "clip; "),
        ],
    )
    def test_ambiguous_or_missing(self, index, header, cause):
        with pytest.raises(DataError, match=cause):
            index(header + "\n")

    def test_in_parquet(self, tmp_path):
        (tmp_path / "a.wav").write_bytes(b"anything")
        columns = {"path": ["a.wav", "a.wav"], "clip": ["a", "b"], "emotion": ["sad", "happy"], "actor": [1, 2]}
        pa.parquet.write_table(pa.table(columns), tmp_path / "mine.parquet")
        found = index_manifest(tmp_path / "mine.parquet")
        assert [(clip.clip, clip.label, clip.actor) for clip in found.clips] == [
            ("a", "sad", "01"),
            ("b", "happy", "02"),
        ]
        assert len(found.notes) == 3

    def test_paths_outside_the_folder_are_refused(self, index):
        with pytest.raises(CorpusNotFoundError, match="outside"):
            index("path,emotion,actor\n..\\w\\a.wav,sad,1\n/etc/passwd,happy,2\n")
