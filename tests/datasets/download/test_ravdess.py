import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from rich.filesize import decimal

from crossmodal.cli.data.download import parse_actors
from crossmodal.cli.main import main
from crossmodal.datasets.download import http, ravdess
from crossmodal.datasets.download.ravdess import download_ravdess
from crossmodal.datasets.ravdess import index_ravdess
from crossmodal.errors import ArchiveError, ChecksumError, ConfigError, DataError, DiskSpaceError, DownloadError
from tests.datasets.download.zenodo_server import Fault, serving, write_zip

SOUND = "Audio_Speech_Actors_01-24.zip"
FACES = ["Video_Speech_Actor_01.zip", "Video_Speech_Actor_02.zip"]
SUM_OF_SOUND = (208_468_073, "bc696df654c87fed845eb13823edef8a")


def names(modalities, actors, suffix):
    fields = itertools.product(actors, modalities, (1, 5))
    return [f"{modality}-01-{emotion:02d}-01-01-01-{actor:02d}.{suffix}" for actor, modality, emotion in fields]


def write_record(folder):
    """Write three archives in RAVDESS's layout, and return all recordings by their target path."""
    content = {SOUND: write_zip(folder / SOUND, names(["03"], [1, 2, 3], "wav"))}
    for actor, name in enumerate(FACES, 1):
        content[name] = write_zip(folder / name, names(["01", "02"], [actor], "mp4"), size=20_000)
    return {f"{name[:-4]}/{path}": piece for name, pieces in content.items() for path, piece in pieces.items()}


@pytest.fixture(autouse=True)
def no_checksums_and_pauses(monkeypatch):
    monkeypatch.setattr(ravdess, "KNOWN_SUMS", {})
    monkeypatch.setattr(http.time, "sleep", lambda seconds: None)


@pytest.fixture
def content(tmp_path):
    (tmp_path / "served").mkdir()
    return write_record(tmp_path / "served")


@pytest.fixture
def server(tmp_path, content):
    with serving(tmp_path / "served") as server:
        yield server


@pytest.fixture
def root(tmp_path):
    return tmp_path / "ravdess"


@pytest.fixture
def get(server, root):
    """Return a function that downloads, by default speech of actors 1 and 2."""
    return lambda **options: download_ravdess(root, **{"actors": [1, 2], "url": server.url, **options})


def recordings(root):
    files = [path for path in root.rglob("*") if path.suffix in (".wav", ".mp4")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def of_actors(content, *actors):
    return {path: piece for path, piece in content.items() if int(path[-6:-4]) in actors}


def of_archive(content, name):
    return {path: piece for path, piece in content.items() if path.startswith(name[:-4])}


class TestComplete:
    def test_all_recordings_are_extracted_and_verified(self, get, root, content, server):
        done = get(actors=[1, 2])
        assert recordings(root) == of_actors(content, 1, 2)
        folders = {name[:-4] for name in [SOUND, *FACES]}
        assert {path.name for path in root.iterdir()} == {".download.lock", "ravdess.lock.json", *folders}
        assert (done.files, done.extracted) == (12, 12)
        assert done.fetched == sum(path.stat().st_size for path in server.folder.iterdir())
        index = index_ravdess(root)
        assert len(index.clips) == 4
        assert index.excluded == []
        archives = json.loads((root / "ravdess.lock.json").read_text())["archives"]
        assert {name: archive["md5"] for name, archive in archives.items()} == {
            entry["key"]: entry["checksum"].removeprefix("md5:") for entry in server.record()["files"]
        }
        assert len(archives[SOUND]["crc32_and_size"]) == 6  # of all actors, for later downloads

    def test_more_actors_later(self, get, root, content, server):
        get(modality="audio", actors=[1])
        assert recordings(root) == {path: piece for path, piece in of_actors(content, 1).items() if "Audio" in path}
        done = get(modality="audio", actors=[1, 3])
        assert (done.files, done.extracted) == (4, 2)
        assert recordings(root).keys() == {path for path in of_actors(content, 1, 3) if "Audio" in path}


class TestExistingFiles:
    @pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"resampled")])
    def test_only_missing_and_changed_recordings_are_extracted(self, get, root, content, server, capsys, damage):
        get()
        damage(root / FACES[0][:-4] / "Actor_01" / "01-01-05-01-01-01-01.mp4")
        kept = {path: path.stat().st_ino for path in root.rglob("02-*.mp4")}
        server.requests.clear()
        assert main(["data", "download", str(root), "--actors", "1-2", "--url", server.url]) == 0
        assert recordings(root) == of_actors(content, 1, 2)
        assert {path: path.stat().st_ino for path in kept} == kept
        assert "1 extracted" in capsys.readouterr().out
        assert not server.requests_for(SOUND)
        assert not server.requests_for(FACES[1])

    def test_existing_archives_are_used_and_kept(self, get, root, content, server, monkeypatch):
        entry = next(entry for entry in server.record()["files"] if entry["key"] == SOUND)
        monkeypatch.setitem(ravdess.KNOWN_SUMS, SOUND, (entry["size"], entry["checksum"].removeprefix("md5:")))
        root.mkdir()
        for name in [SOUND, *FACES]:
            shutil.copy(server.folder / name, root)
        get(modality="audio")
        assert server.requests == []  # the checksum is known
        get(modality="both")
        assert [request.path for request in server.requests] == ["/api/records/1188976"]
        assert all((root / name).exists() for name in [SOUND, *FACES])
        assert recordings(root) == of_actors(content, 1, 2)

    def test_damaged_existing_archive_is_an_error_and_kept(self, get, root, content, server):
        root.mkdir()
        damaged = bytes((server.folder / FACES[0]).stat().st_size)
        (root / FACES[0]).write_bytes(damaged)
        with pytest.raises(ChecksumError, match="Remove"):
            get(modality="video", actors=[1])
        assert (root / FACES[0]).read_bytes() == damaged
        (root / FACES[0]).write_bytes(damaged[1:])  # incomplete
        get(modality="video", actors=[1])
        assert recordings(root) == of_archive(content, FACES[0])

    def test_leftovers_of_a_killed_run_are_removed(self, get, root, server):
        get(modality="audio")
        shutil.copy(server.folder / SOUND, root / f"{SOUND}.part")
        (root / ".ravdess.lock.json.x1y2.tmp").write_bytes(b"{")
        get(modality="audio")
        assert not [*root.glob("*.tmp"), *root.glob("*.part")]


class TestResume:
    def test_failed_download_is_resumed(self, get, root, content, server):
        server.faults[FACES[0]] = [Fault(cut_after=5000), *[Fault(status=500)] * 8]
        with pytest.raises(DownloadError, match=FACES[0]):
            get()
        assert recordings(root) == of_archive(of_actors(content, 1, 2), SOUND)
        server.requests.clear()
        done = get()
        assert recordings(root) == of_actors(content, 1, 2)
        assert not server.requests_for(SOUND)
        assert server.requests_for(FACES[0])[0].range == "bytes=5000-"
        assert done.fetched == sum((server.folder / name).stat().st_size for name in FACES) - 5000

    def test_downloaded_archive_of_a_mirror_is_extracted_without_a_request(
        self, get, root, content, server, monkeypatch
    ):
        server.is_mirror = True
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(ravdess, "extract_members", lambda *args: 1 / 0)  # like a kill after the download
            get(modality="video", actors=[1])
        assert recordings(root) == {}
        server.requests.clear()
        get(modality="video", actors=[1])
        assert server.requests == []
        assert recordings(root) == of_archive(content, FACES[0])
        assert not list(root.glob("*.part"))

    def test_wrong_checksum(self, get, root, content, server):
        server.faults[FACES[0]] = [Fault(flip=5000)]
        with pytest.raises(ChecksumError, match=FACES[0]):
            get(modality="video", actors=[1])
        assert recordings(root) == {}
        get(modality="video", actors=[1])
        assert recordings(root) == of_archive(content, FACES[0])


class TestRefusals:
    def test_record_with_another_checksum_than_the_known_one(self, get, root, server, monkeypatch):
        monkeypatch.setitem(ravdess.KNOWN_SUMS, SOUND, SUM_OF_SOUND)
        with pytest.raises(ChecksumError, match=f"{SOUND} .*208468073 bytes and md5 bc696df6"):
            get(modality="video")
        assert recordings(root) == {}
        assert len(server.requests) == 1

    def test_changed_record(self, get, root, content, server):
        get(modality="audio")
        write_zip(server.folder / FACES[0], names(["01"], [1], "mp4"))
        with pytest.raises(ChecksumError, match=rf"{FACES[0]} .*lock file"):
            get()
        assert recordings(root).keys() == {path for path in of_actors(content, 1, 2) if "Audio" in path}
        (root / "ravdess.lock.json").unlink()
        get()

    def test_required_space(self, get, root, server, monkeypatch):
        sizes = {name: (server.folder / name).stat().st_size for name in [SOUND, *FACES]}
        needed = sum(round(size * 1.05) for name, size in sizes.items() if name != SOUND)
        needed += round(sizes[SOUND] * 3.0 * 2 / 24) + max(sizes.values())
        free = SimpleNamespace(free=needed - 1)
        monkeypatch.setattr(ravdess.shutil, "disk_usage", lambda path: free)
        with pytest.raises(DiskSpaceError, match=rf"about {decimal(needed)} needed, .* free"):
            get()
        free.free = needed
        get()

    def test_unsafe_and_missing_archives_and_full_disk(self, get, root, server, monkeypatch):
        def full(*args):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch, pytest.raises(DiskSpaceError, match="No space left on device"):
            patch.setattr("crossmodal.datasets.download.archive.shutil.copyfileobj", full)
            get(modality="video", actors=[2])
        shutil.rmtree(root)
        (server.folder / FACES[1]).unlink()
        with pytest.raises(DownloadError, match=FACES[1]):
            get()
        shutil.rmtree(root)
        with zipfile.ZipFile(server.folder / FACES[0], "w") as archive:
            archive.writestr("Actor_01/01-01-05-01-01-01-01.mp4", b"good")
            archive.writestr("../../escaped.mp4", b"bad")
        with pytest.raises(ArchiveError, match="outside the folder"):
            get(modality="video", actors=[1])
        assert recordings(root.parent) == {}

    @pytest.mark.parametrize(
        ("name", "error", "reason"),
        [
            ("ravdess", ConfigError, "not a folder"),
            ("ravdess/synthetic.json", ConfigError, "synthetic"),
            ("ravdess/ravdess.lock.json", DataError, "lock"),
        ],
    )
    def test_unusable_folders(self, get, tmp_path, name, error, reason):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{")
        with pytest.raises(error, match=reason):
            get()

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"actors": []}, "1 to 24"),
            ({"actors": [0, 3]}, r"\[0\]"),
            ({"actors": [18], "channel": "song"}, "actor 18"),
        ],
    )
    def test_arguments_out_of_range(self, get, root, options, reason):
        with pytest.raises(ConfigError, match=reason):
            get(**options)
        assert not root.exists()


def test_concurrent_downloads_to_one_folder(get, root, content, server, capsys):
    release = threading.Event()
    server.faults[FACES[0]] = [Fault(wait=release)]
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(get, modality="video") for _ in range(2)]
        deadline = time.monotonic() + 20
        while str(root) not in capsys.readouterr().out and time.monotonic() < deadline:  # the second one waits
            threading.Event().wait(0.02)
        release.set()
    assert sorted(one.result().extracted for one in both) == [0, 8]
    assert [len(server.requests_for(f"{name}?")) for name in FACES] == [1, 1]
    assert recordings(root).keys() == {path for path in content if "Video" in path}


CODE = "import sys; from crossmodal.datasets.download import zenodo; zenodo.KNOWN_SUMS.clear(); "
CODE += "from crossmodal.cli.main import main; sys.exit(main())"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_command_is_resumed(root, content, server, number):
    release = threading.Event()
    server.faults[FACES[0]] = [Fault(wait=release)]
    part = root / f"{FACES[0]}.part"
    command = ["data", "download", str(root), "--url", server.url, "--modality=video", "--actors=1"]
    process = subprocess.Popen([sys.executable, "-c", CODE, *command], stderr=subprocess.PIPE, text=True)
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None
        threading.Event().wait(0.002)
    started = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    release.set()
    if number == signal.SIGINT:
        assert time.monotonic() - started < 10  # it does not wait for the server
        assert process.returncode == 130
        assert "same command" in error.splitlines()[-1]
        assert "Traceback" not in error
    assert recordings(root) == {}
    received = part.stat().st_size
    server.requests.clear()
    download_ravdess(root, modality="video", actors=[1], url=server.url)
    assert recordings(root) == of_archive(content, FACES[0])
    (request,) = server.requests_for(FACES[0])
    assert request.range == f"bytes={received}-"


class TestCommand:
    def test_output_is_one_line_for_an_error_or_summarizes_the_download(self, root, server, capsys):
        command = ["data", "download", str(root), "--actors=1-2", "--url", server.url]
        server.faults["record"] = [Fault(status=404)]
        assert main(command) == 1
        error = capsys.readouterr().err
        assert re.search(r"^crossmodal data download: .*http://\S+.* 404", error, re.MULTILINE)
        assert "Traceback" not in error
        assert main(command) == 0
        out, err = capsys.readouterr()
        assert re.search(rf"12 recordings .*{root}.*12 extracted", out)
        assert "CC BY-NC-SA 4.0" in out
        assert out.endswith(f"crossmodal data check {root}\n")
        assert re.search(r"3 archive\(s\), \d+\.\d kB\. .* \d+\.\d kB needed, .* free\.", err)
        assert f"{FACES[0]}: verified, 4 recording(s) extracted" in err
        assert main([*command[:-1], "http://127.0.0.1:1/nobody"]) == 0  # needs no request
        assert re.search(r"\b0 extracted.*\b0 bytes", capsys.readouterr().out)

    @pytest.mark.parametrize(
        ("text", "actors"),
        [("1-4", [1, 2, 3, 4]), ("7", [7]), ("9-10, 1,9", [1, 9, 10]), ("1-24", list(range(1, 25))), ("05", [5])],
    )
    def test_valid_actors(self, text, actors):
        assert parse_actors(text) == actors

    @pytest.mark.parametrize("text", ["", "0", "25", "4-1", "1-", "a", "1-99999999999", "1,,2", "-3", "1 2"])
    def test_invalid_actors(self, text, capsys, root):
        with pytest.raises(ConfigError, match="1 to 24"):
            parse_actors(text)
        assert main(["data", "download", str(root), f"--actors={text}"]) == 1
        assert "--actors" in capsys.readouterr().err
        assert not root.exists()
