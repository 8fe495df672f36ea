import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.datasets.download import archive as archive_module
from crossmodal.datasets.download.archive import Member, extract_members, is_extracted, list_members
from crossmodal.datasets.download.zenodo import needed_archives
from crossmodal.errors import ArchiveError
from tests.datasets.download.zenodo_server import recording, write_zip

(SPEECH,) = needed_archives("speech", "audio", [1])
NAMES = [f"03-01-{emotion:02d}-01-01-01-01.wav" for emotion in range(1, 5)]
FIRST = f"Actor_01/{NAMES[0]}"
parse = SPEECH.parse_member


def nothing(count):
    pass


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "a.zip"
    return path, write_zip(path, NAMES)


@pytest.fixture
def folders(tmp_path):
    folders = tmp_path / "out", tmp_path / "work"
    for folder in folders:
        folder.mkdir()
    return folders


def everything_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestExtraction:
    def test_all_members_are_extracted(self, packed, folders):
        path, content = packed
        counted = []
        members = list_members(path, parse)
        extract_members(path, members, *folders, counted.append)
        assert everything_below(folders[0]) == content
        assert everything_below(folders[1]) == {}
        assert sum(counted) == sum(map(len, content.values()))
        assert [member.crc32 for member in members] == [zlib.crc32(piece) for piece in content.values()]
        assert all(is_extracted(member, folders[0], nothing) for member in members)

    def test_only_requested_members_are_extracted(self, packed, folders):
        path, content = packed
        extract_members(path, list_members(path, parse)[1:2], *folders, nothing)
        assert everything_below(folders[0]) == dict([list(content.items())[1]])

    def test_interrupted_extraction_leaves_no_file(self, packed, folders):
        path, _ = packed

        class PowerCutError(Exception):
            pass

        def cut(count):
            raise PowerCutError

        with pytest.raises(PowerCutError):
            extract_members(path, list_members(path, parse), *folders, cut)
        assert everything_below(folders[0]) == {}

    def test_folders_and_metadata_of_macos_are_ignored(self, tmp_path, folders):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("Actor_01") if hasattr(archive, "mkdir") else archive.writestr("Actor_01/", b"")
            archive.writestr(f"__MACOSX/Actor_01/._{NAMES[0]}", b"note")
            archive.writestr("Actor_01/.DS_Store", b"note")
            archive.writestr(FIRST, b"sound")
        members = list_members(path, parse)
        extract_members(path, members, *folders, nothing)
        assert everything_below(folders[0]) == {FIRST: b"sound"}

    def test_stored_and_empty_members(self, tmp_path, folders):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(FIRST, b"sound")
            archive.writestr(f"Actor_01/{NAMES[1]}", b"")
        extract_members(path, list_members(path, parse), *folders, nothing)
        assert everything_below(folders[0]) == {FIRST: b"sound", f"Actor_01/{NAMES[1]}": b""}


class TestIsExtracted:
    def test_missing_file_or_folder(self, tmp_path):
        member = Member("a/b.wav", 3, zlib.crc32(b"abc"))
        assert not is_extracted(member, tmp_path, nothing)
        (tmp_path / "a" / "b.wav").mkdir(parents=True)
        assert not is_extracted(member, tmp_path, nothing)

    @given(st.binary(min_size=1, max_size=300), st.data())
    @settings(max_examples=60)
    def test_truncation_and_flipped_bits_are_detected(self, content, data):
        member = Member("a.wav", len(content), zlib.crc32(content))
        folder = mock.MagicMock()
        path = folder.__truediv__.return_value
        path.is_file.return_value = True
        cut = data.draw(st.integers(0, len(content)))
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        for changed, is_whole in ((content, True), (content[:cut], cut == len(content)), (bytes(flipped), False)):
            path.stat.return_value.st_size = len(changed)
            path.open.reset_mock()
            path.open.return_value = io.BytesIO(changed)
            assert is_extracted(member, folder, nothing) == is_whole
            assert path.open.called == (len(changed) == len(content))  # a file of another size is not read


@pytest.fixture(scope="module")
def small_zip(tmp_path_factory):
    """Return a minimal archive and its content, so that few examples cover all its parts."""
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    return path, write_zip(path, NAMES[:2], size=40)


@given(st.data())
@settings(max_examples=150)
def test_damaged_archive_never_gives_wrong_content(small_zip, tmp_path_factory, data):
    """Truncate an archive or change any byte: every extracted recording is either right or missing."""
    path, content = small_zip
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at, change = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
        damaged = whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :]
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "work").mkdir()
    (folder / "a.zip").write_bytes(damaged)
    members = []
    try:
        members = list_members(folder / "a.zip", parse)
        extract_members(folder / "a.zip", members, folder / "out", folder / "work", nothing)
    except ArchiveError as error:
        assert "a.zip" in str(error)
    for member in members:
        if (folder / "out" / member.path).exists():
            assert is_extracted(member, folder / "out", nothing)
            # The md5, which is checked first, detects a changed name or CRC in the directory.
            assert (folder / "out" / member.path).read_bytes() in content.values()


def zip_of(path, *members):
    """Write members as (name or ZipInfo, content)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)


def patch(path, offset, value, member=0, local_offset=None):
    """Overwrite a field of a member's directory entry, and of its local header at `local_offset` if given."""
    data = bytearray(path.read_bytes())
    at = -1
    for _ in range(member + 1):
        at = data.index(b"PK\x01\x02", at + 1)
    data[at + offset : at + offset + len(value)] = value
    if local_offset is not None:
        data[local_offset : local_offset + len(value)] = value
    path.write_bytes(bytes(data))


def with_mode(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


class TestRefusals:
    """The whole archive is rejected before anything is written."""

    @pytest.fixture
    def rejected(self, tmp_path):
        path = tmp_path / "bad.zip"

        def check(reason):
            with pytest.raises(ArchiveError, match=rf"bad\.zip .*{reason}") as raised:
                list_members(path, parse)
            return str(raised.value)

        return path, check

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            (f"/etc/{NAMES[1]}", "outside the folder"),
            (f"C:/{NAMES[1]}", "outside the folder"),
            (f"..\\..\\{NAMES[1]}", "outside the folder"),
            (f"../{NAMES[1]}", "outside the folder"),
            (f"Actor_01/../../{NAMES[1]}", "outside the folder"),
            (f"Actor_01//{NAMES[1]}", "outside the folder"),
            (f"./{NAMES[1]}", "outside the folder"),
            ("../", "outside the folder"),
            ("Actor_01/run.sh", "RAVDESS"),
            ("Actor_01/03-01-05-01-01-01-01.wav.exe", "RAVDESS"),
            ("Actor_01/03-02-05-01-01-01-01.wav", "song .*speech"),
        ],
    )
    def test_names(self, rejected, name, reason):
        path, check = rejected
        zip_of(path, (FIRST, b"good"), (name, b"bad"))
        assert repr(name)[1:-1] in check(reason)

    def test_name_with_a_null_byte(self, rejected):
        path, check = rejected
        zip_of(path, (f"{FIRST}XYZ", b"bad"))
        data = path.read_bytes().replace(f"{FIRST}XYZ".encode(), f"{FIRST}\0/b".encode())
        path.write_bytes(data)
        check("outside the folder")

    @pytest.mark.parametrize(
        "kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR]
    )
    def test_links_and_devices(self, rejected, kind):
        path, check = rejected
        zip_of(path, (with_mode(FIRST, kind | 0o777), b"/etc/passwd"))
        check("link")

    def test_link_with_the_name_of_a_folder(self, rejected):
        path, check = rejected
        zip_of(path, (with_mode("Actor_01/", stat.S_IFLNK | 0o777), b"/etc"), (FIRST, b"x"))
        check("link")

    def test_encrypted(self, rejected):
        path, check = rejected
        zip_of(path, (FIRST, b"secret"))
        patch(path, 8, struct.pack("<H", 1), local_offset=6)
        check("encrypted")

    def test_unknown_compression_method(self, rejected):
        path, check = rejected
        with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr(FIRST, b"sound")
        check("method 14")

    def test_duplicate_member(self, rejected):
        path, check = rejected
        with pytest.warns(UserWarning, match="Duplicate name"):
            zip_of(path, (FIRST, b"one"), (FIRST, b"two"))
        check("duplicate")

    def test_recording_in_two_folders(self, rejected):
        path, check = rejected
        zip_of(path, (FIRST, b"one"), (f"other/{NAMES[0]}", b"two"))
        check("duplicate")

    def test_overlapping_members(self, rejected):
        """The entry of the second member points to the bytes of the first."""
        path, check = rejected
        zip_of(path, (FIRST, b"x" * 1000), (f"Actor_01/{NAMES[1]}", b"x" * 1000))
        patch(path, 42, struct.pack("<L", 0), member=1)
        check("overlaps")

    def test_member_that_overlaps_the_directory(self, rejected):
        path, check = rejected
        zip_of(path, (FIRST, recording("a")))
        patch(path, 20, struct.pack("<L", path.stat().st_size))
        check("overlaps")

    def test_bomb_by_ratio(self, rejected):
        path, check = rejected
        zip_of(path, (FIRST, bytes(10_000_000)))
        assert path.stat().st_size < 20_000
        check("10000000 bytes, .* 9[0-9]{3}: .* 100")

    def test_bomb_by_count(self, rejected, monkeypatch):
        path, check = rejected
        monkeypatch.setattr(archive_module, "MOST_MEMBERS", 3)
        write_zip(path, NAMES)
        check("4 members, .* 3")

    def test_bomb_by_size(self, rejected, monkeypatch):
        path, check = rejected
        write_zip(path, NAMES, size=3000)
        monkeypatch.setattr(archive_module, "LARGEST_TOTAL", 11_999)
        check("12000 bytes, .* 11999")
        monkeypatch.setattr(archive_module, "LARGEST_MEMBER", 2999)
        check("3000 bytes, .* 2999")

    def test_limits_fit_ravdess(self):
        assert archive_module.MOST_MEMBERS > 2 * 1440
        assert archive_module.LARGEST_TOTAL > 4 * 600e6
        assert archive_module.HIGHEST_RATIO > 10 * 6.3


class TestWrongDirectory:
    """A well-formed but wrong directory is detected during extraction, and leaves no recording."""

    @pytest.mark.parametrize("claimed", [2999, 3001, 5000])
    def test_wrong_size(self, tmp_path, folders, claimed):
        path = tmp_path / "a.zip"
        write_zip(path, NAMES[:1])
        patch(path, 24, struct.pack("<L", claimed))
        members = list_members(path, parse)
        with pytest.raises(ArchiveError, match=r"a\.zip"):
            extract_members(path, members, *folders, nothing)
        assert everything_below(folders[0]) == {}

    def test_wrong_crc(self, tmp_path, folders):
        path = tmp_path / "a.zip"
        write_zip(path, NAMES[:1])
        patch(path, 16, b"1234")
        with pytest.raises(ArchiveError, match="CRC"):
            extract_members(path, list_members(path, parse), *folders, nothing)
        assert everything_below(folders[0]) == {}

    def test_wrong_name(self, tmp_path, folders):
        path = tmp_path / "a.zip"
        write_zip(path, NAMES[:1])
        data = path.read_bytes()
        path.write_bytes(data.replace(NAMES[0].encode(), NAMES[1].encode(), 1))
        with pytest.raises(ArchiveError, match="differ"):
            extract_members(path, list_members(path, parse), *folders, nothing)

    @pytest.mark.parametrize("content", [b"", b"PK", b"this is no zip" * 100, b"PK\x05\x06" + bytes(17)])
    def test_file_that_is_not_a_zip(self, tmp_path, content):
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(ArchiveError, match=r"a\.zip"):
            list_members(tmp_path / "a.zip", parse)


def test_real_archives_pass(pytestconfig):
    """Validate archives of real recordings, if the folder of shared data exists."""
    folder = Path(pytestconfig.rootpath).parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real recordings does not exist")
    for name, number in (("Audio_Speech_Actors_01-16.zip", 960), ("Audio_Song_Actors_01-06.zip", 264)):
        channel = name.split("_")[1].lower()
        (archive,) = needed_archives(channel, "audio", [1])
        assert len(list_members(folder / name, archive.parse_member)) == number
