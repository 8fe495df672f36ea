import json
import re
from pathlib import Path

import pytest

from crossmodal.datasets.download.zenodo import KNOWN_SUMS, RemoteFile, needed_archives, read_record
from crossmodal.errors import DownloadError

URL = "https://zenodo.example/api/records/1188976"
VIDEO = "Video_Speech_Actor_01.zip"
MD5 = "0123456789abcdef" * 2


def record(files, **links):
    return json.dumps({"id": 1188976, "links": links, "files": files}).encode()


def entry(name=VIDEO, size=500, checksum=f"md5:{MD5}", **more):
    return {"key": name, "size": size, "checksum": checksum, **more}


@pytest.mark.parametrize(
    ("channel", "modality", "actors", "number"),
    [
        ("speech", "audio", range(1, 25), 1),
        ("song", "video", range(1, 25), 23),
        ("both", "both", range(1, 25), 49),
        ("speech", "both", [3, 4], 3),
        ("song", "both", [18], 0),
        ("both", "both", [18], 2),
    ],
)
def test_needed_archives(channel, modality, actors, number):
    assert len({archive.name for archive in needed_archives(channel, modality, actors)}) == number
    assert KNOWN_SUMS.keys() <= {archive.name for archive in needed_archives()}


def test_known_checksums_match_the_docs():
    text = (Path(__file__).parents[3] / "docs" / "downloading.md").read_text(encoding="utf-8")
    for name, (size, md5) in KNOWN_SUMS.items():
        assert re.search(rf"`{name}` \|.* {size:,} bytes, md5 `{md5}`", text)


@pytest.mark.parametrize(
    "path",
    [
        *("setup.py", "Actor_01/03-01-05-01-01-01-01.wav", "Actor_01/03-01-05-01-01-01-01.mp4"),
        *(f"Actor_{name[-2:]}/{name}.mp4" for name in ("01-02-05-01-01-01-01", "01-01-05-01-01-01-02")),
        "Actor_01/01-01-09-01-01-01-01.mp4",
    ],
)
def test_unexpected_recording_in_an_archive(path):
    (archive,) = needed_archives("speech", "video", [1])
    assert archive.parse_member("Actor_01/02-01-05-01-01-01-01.mp4").modality == "02"
    with pytest.raises(ValueError, match="RAVDESS"):
        archive.parse_member(path)


class TestRecord:
    def test_zenodo_format(self):
        page = "https://zenodo.example/records/1188976"
        files = read_record(record([{"key": "notes.txt"}, entry()], self_html=page), URL)
        assert files == {VIDEO: RemoteFile(f"{page}/files/{VIDEO}?download=1", 500, MD5)}

    def test_mirror_folder(self):
        url = "http://mirror.example/ravdess/record.json"
        assert read_record(record([entry()]), url)[VIDEO].url == f"http://mirror.example/ravdess/{VIDEO}?download=1"

    @pytest.mark.parametrize(
        "content",
        [
            *(b"<html>Log in to the guest network</html>", b"[]", b"null", b'{"status": 404}', b"\xff\xfe"),
            *(record([{"size": 3}]), record(["x"])),
            record([entry(size="500")]),
            record([entry(size=-1)]),
            record([entry(checksum="sha256:00")]),
        ],
    )
    def test_invalid_record(self, content):
        with pytest.raises(DownloadError, match=URL):
            read_record(content, URL)
