import json
import re
from pathlib import Path

import pytest

from crossmodal.datasets.download.zenodo import KNOWN_SUMS, needed_archives, published_archives, read_record
from crossmodal.errors import ChecksumError, DownloadError

URL = "https://zenodo.example/api/records/1188976"
SPEECH, VIDEO = "Audio_Speech_Actors_01-24.zip", "Video_Speech_Actor_01.zip"
MD5 = "0123456789abcdef" * 2
CONTENT = f"{URL}/files/{VIDEO}/content"


def record(files, **links):
    return json.dumps({"id": 1188976, "links": links, "files": files}).encode()


def entry(name=VIDEO, size=500, checksum=f"md5:{MD5}", **more):
    return {"key": name, "size": size, "checksum": checksum, **more}


class TestArchives:
    def test_number_of_archives(self):
        names = [archive.name for archive in published_archives()]
        assert len(names) == len(set(names)) == 49
        assert KNOWN_SUMS.keys() <= set(names)
        assert "Video_Speech_Actor_18.zip" in names
        assert "Video_Song_Actor_18.zip" not in names

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
    def test_needed_archives(self, channel, modality, actors, number):
        assert len(needed_archives(channel, modality, actors)) == number

    def test_known_checksums_match_the_docs(self):
        text = (Path(__file__).parents[3] / "docs" / "downloading.md").read_text(encoding="utf-8")
        for name, (size, md5) in KNOWN_SUMS.items():
            assert re.search(rf"`{name}` \|.* {size:,} bytes, md5 `{md5}`", text)

    @pytest.mark.parametrize(
        ("path", "reason"),
        [
            ("Actor_01/03-01-05-01-01-01-01.wav", r"\.mp4"),
            ("Actor_01/03-01-05-01-01-01-01.mp4", "audio .*video"),
            ("Actor_01/01-02-05-01-01-01-01.mp4", "song .*speech"),
            ("Actor_02/01-01-05-01-01-01-02.mp4", "actor 02"),
            ("Actor_01/01-01-09-01-01-01-01.mp4", "emotion '09'"),
            ("setup.py", "7 fields"),
        ],
    )
    def test_unexpected_recording_in_an_archive(self, path, reason):
        (archive,) = needed_archives("speech", "video", [1])
        assert archive.parse_member("Actor_01/02-01-05-01-01-01-01.mp4").modality == "02"
        with pytest.raises(ValueError, match=reason):
            archive.parse_member(path)

    def test_extracted_size_of_some_actors(self):
        (archive,) = needed_archives("speech", "audio", [1])
        assert archive.extracted_size(2400, range(1, 5)) == round(2400 * 3.0 * 4 / 24)


class TestRecord:
    def test_zenodo_format_with_the_range_link_first(self):
        page = "https://zenodo.example/records/1188976"
        (file,) = read_record(record([entry(links={"self": CONTENT})], self_html=page), URL).values()
        assert (file.name, file.size, file.md5) == (VIDEO, 500, MD5)
        assert file.urls == (f"{page}/files/{VIDEO}?download=1", CONTENT)

    def test_format_before_2023(self):
        link = f"https://zenodo.example/api/files/1e3744d0-6ae1/{VIDEO}"
        files = [entry(bucket="1e3744d0-6ae1", type="zip", links={"self": link})]
        assert read_record(record(files, html="https://zenodo.example/record/1"), URL)[VIDEO].urls == (link,)

    @pytest.mark.parametrize("listed", [False, True])
    def test_inveniordm_format(self, listed):
        one = entry(links={"self": CONTENT.removesuffix("/content"), "content": CONTENT})
        files = {"enabled": True, "entries": [one] if listed else {VIDEO: one}}
        assert read_record(record(files), URL)[VIDEO].urls == (CONTENT,)

    def test_mirror_folder(self):
        url = "http://mirror.example/ravdess/record.json"
        assert read_record(record([entry()]), url)[VIDEO].urls == (f"http://mirror.example/ravdess/{VIDEO}",)
        relative = entry(links={"self": "zips/a.zip"})
        assert read_record(record([relative]), url)[VIDEO].urls == ("http://mirror.example/ravdess/zips/a.zip",)

    def test_other_files_are_ignored(self):
        assert read_record(record([{"key": "notes.txt"}, entry()]), URL).keys() == {VIDEO}

    def test_known_checksum_is_accepted(self):
        size, md5 = KNOWN_SUMS[SPEECH]
        assert read_record(record([entry(SPEECH, size, f"md5:{md5}")]), URL)[SPEECH].md5 == md5

    @pytest.mark.parametrize("wrong", [{"checksum": f"md5:{MD5}"}, {"size": 208_468_074}])
    def test_other_checksum_than_the_known_one_is_rejected(self, wrong):
        size, md5 = KNOWN_SUMS[SPEECH]
        files = [entry(), entry(SPEECH, **{"size": size, "checksum": md5, **wrong})]
        with pytest.raises(ChecksumError, match=f"208468073 bytes and md5 {md5}"):
            read_record(record(files), URL)

    @pytest.mark.parametrize(
        "content",
        [
            b"<html>Log in to the guest network</html>",
            b"[]",
            b"null",
            b'{"status": 404, "message": "not found"}',
            b"\xff\xfe",
            record([{"key": 3}]),
            record([{"size": 3}]),
            record(["x"]),
            record([entry(size="500")]),
            record([entry(size=-1)]),
            record([entry(checksum="sha256:00")]),
            record([entry(checksum=None)]),
            record([entry(links=["x"])]),
            record([entry(links={"self": 3})]),
        ],
    )
    def test_invalid_record(self, content):
        with pytest.raises(DownloadError, match=URL):
            read_record(content, URL)

    def test_record_without_ravdess(self):
        with pytest.raises(DownloadError, match="RAVDESS"):
            read_record(record([entry("other.zip")]), URL)
