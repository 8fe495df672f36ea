import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.datasets.download import archive as archive_module
from crossmodal.datasets.download.archive import Member, extract_members, is_extracted, list_members
from crossmodal.datasets.download.zenodo import needed_archives
from crossmodal.errors import ArchiveError
from tests.datasets.download.zenodo_server import write_zip

(SPEECH,) = needed_archives("speech", "audio", [1])
NAMES = [f"03-01-{emotion:02d}-01-01-01-01.wav" for emotion in range(1, 5)]
FIRST = f"Actor_01/{NAMES[0]}"
parse = SPEECH.parse_member


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.zip"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


def everything_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestExtraction:
    def test_all_members_are_extracted(self, path, folder):
        content = write_zip(path, NAMES)
        members = list_members(path, parse)
        extract_members(path, members[1:2], folder)
        assert everything_below(folder) == dict([list(content.items())[1]])
        (folder / "Actor_01" / f".{NAMES[0]}.x1y2.tmp").write_bytes(b"left by a killed run")
        extract_members(path, members, folder)
        assert everything_below(folder) == content
        assert [member.crc32 for member in members] == [zlib.crc32(piece) for piece in content.values()]
        assert all(is_extracted(member, folder) for member in members)

    def test_interrupted_extraction_leaves_no_file(self, path, folder, monkeypatch):
        write_zip(path, NAMES)
        monkeypatch.setattr(archive_module.shutil, "copyfileobj", lambda source, file: file.write(b"half") / 0)
        with pytest.raises(ZeroDivisionError):
            extract_members(path, list_members(path, parse), folder)
        assert everything_below(folder) == {}

    def test_other_kinds_of_members(self, path, folder):
        """Folders and metadata of macOS are ignored; stored and empty files are extracted."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("Actor_01/", b"")
            archive.writestr(f"__MACOSX/Actor_01/._{NAMES[0]}", b"note")
            archive.writestr("Actor_01/.DS_Store", b"note")
            archive.writestr(FIRST, b"sound")
            archive.writestr(f"Actor_01/{NAMES[1]}", b"")
        extract_members(path, list_members(path, parse), folder)
        assert everything_below(folder) == {FIRST: b"sound", f"Actor_01/{NAMES[1]}": b""}


@pytest.mark.parametrize(
    ("changed", "is_whole"), [(b"sound", True), (b"soun", False), (b"sounD", False), (None, False)]
)
def test_damaged_and_missing_recordings_are_detected(tmp_path, changed, is_whole):
    member = Member("a.wav", 5, zlib.crc32(b"sound"))
    if changed is not None:
        (tmp_path / member.path).write_bytes(changed)
    assert is_extracted(member, tmp_path) == is_whole


def test_members_before_the_start_of_an_archive_are_damage(tmp_path):
    path = tmp_path / "a.zip"
    write_zip(path, NAMES[:1], size=40)
    content = bytearray(path.read_bytes())
    content[-6] += 1  # the offset of the directory: zipfile shifts all members by the difference
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="damaged"):
        extract_members(path, list_members(path, parse), tmp_path / "out")


@given(st.data())
@settings(max_examples=150)
def test_damaged_archive_never_gives_wrong_content(tmp_path_factory, data):
    """Truncate a small archive or change any byte: every extracted recording is either right or missing."""
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / "a.zip"
    content = write_zip(path, NAMES[:2], size=40)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        at, change = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :])
    members = []
    try:
        members = list_members(path, parse)
        extract_members(path, members, folder / "out")
    except ArchiveError as error:
        assert "a.zip" in str(error)
    for member in members:
        if (folder / "out" / member.path).exists():
            assert is_extracted(member, folder / "out")
            # The md5, which is checked first, detects a changed name or CRC in the directory.
            assert (folder / "out" / member.path).read_bytes() in content.values()


class TestRefusals:
    """The whole archive is rejected before anything is written."""

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            (f"/etc/{NAMES[1]}", "outside"),
            (f"C:/{NAMES[1]}", "outside"),
            (f"..\\..\\{NAMES[1]}", "RAVDESS|outside"),
            (f"../{NAMES[1]}", "outside"),
            (f"Actor_01/../../{NAMES[1]}", "outside"),
            (f"Actor_01//{NAMES[1]}", "outside"),
            (f"./{NAMES[1]}", "outside"),
            ("Actor_01/run.sh", "RAVDESS"),
            ("Actor_01/03-01-05-01-01-01-01.wav.exe", "RAVDESS"),
            ("Actor_01/03-02-05-01-01-01-01.wav", "RAVDESS"),
            (f"other/{NAMES[0]}", "duplicate"),
        ],
    )
    def test_names(self, path, name, reason):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(FIRST, b"good")
            archive.writestr(name, b"bad")
        with pytest.raises(ArchiveError, match=rf"a\.zip .*{NAMES[1] if NAMES[1] in name else name}.*({reason})"):
            list_members(path, parse)

    def test_size_and_compression_ratio(self, path, monkeypatch):
        """A zip bomb cannot write more than the declared sizes; their sum and ratio are limited."""
        assert archive_module.LARGEST_TOTAL > 4 * 600e6  # bytes of RAVDESS's largest archive
        assert archive_module.HIGHEST_RATIO > 10 * 7  # RAVDESS's highest
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(FIRST, bytes(10_000_000))
        assert path.stat().st_size < 20_000
        with pytest.raises(ArchiveError, match="10000000 bytes"):
            list_members(path, parse)
        write_zip(path, NAMES, size=3000)
        monkeypatch.setattr(archive_module, "LARGEST_TOTAL", 11_999)
        with pytest.raises(ArchiveError, match=r"12000 bytes, .* 11999"):
            list_members(path, parse)


class TestWrongDirectory:
    """A wrong directory is detected during extraction, and leaves no recording."""

    @pytest.mark.parametrize(
        ("offset", "value"),
        [
            (24, struct.pack("<L", 2999)),  # uncompressed size
            (24, struct.pack("<L", 3001)),
            (24, struct.pack("<L", 1 << 30)),
            (16, b"1234"),  # CRC
            (8, struct.pack("<H", 1)),  # encrypted
            (10, struct.pack("<H", 99)),  # compression method
            (46 + 15, b"2"),  # emotion in the name
        ],
    )
    def test_changed_field(self, path, folder, offset, value):
        write_zip(path, NAMES[:1])
        data = bytearray(path.read_bytes())
        at = data.index(b"PK\x01\x02") + offset  # of a field in the first directory entry
        data[at : at + len(value)] = value
        path.write_bytes(data)
        with pytest.raises(ArchiveError, match=r"a\.zip"):
            extract_members(path, list_members(path, parse), folder)
        assert everything_below(folder) == {}

    @pytest.mark.parametrize("content", [b"", b"PK", b"this is no zip" * 100, b"PK\x05\x06" + bytes(17)])
    def test_file_that_is_not_a_zip(self, path, content):
        path.write_bytes(content)
        with pytest.raises(ArchiveError, match=r"a\.zip"):
            list_members(path, parse)


def test_real_archives_pass(pytestconfig):
    """Validate archives of real recordings, if the folder of shared data exists."""
    folder = Path(pytestconfig.rootpath).parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real recordings does not exist")
    for name, number in (("Audio_Speech_Actors_01-16.zip", 960), ("Audio_Song_Actors_01-06.zip", 264)):
        channel = name.split("_")[1].lower()
        (archive,) = needed_archives(channel, "audio", [1])
        assert len(list_members(folder / name, archive.parse_member)) == number
