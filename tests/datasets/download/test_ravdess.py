import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossmodal.cli.data.download import parse_actors
from crossmodal.cli.main import main
from crossmodal.datasets.download import ravdess, zenodo
from crossmodal.datasets.download.http import Downloader
from crossmodal.datasets.download.ravdess import download_ravdess
from crossmodal.datasets.ravdess import index_ravdess
from crossmodal.errors import (
    ArchiveError,
    ChecksumError,
    ConfigError,
    DataError,
    DiskSpaceError,
    DownloadError,
)
from tests.datasets.download.zenodo_server import Fault, serving, write_zip

SOUND = "Audio_Speech_Actors_01-24.zip"
FACES = ["Video_Speech_Actor_01.zip", "Video_Speech_Actor_02.zip"]
SUM_OF_SOUND = (208_468_073, "bc696df654c87fed845eb13823edef8a")


def names(modalities, actors, suffix):
    return [
        f"{modality}-01-{emotion:02d}-01-01-01-{actor:02d}.{suffix}"
        for actor in actors
        for modality in modalities
        for emotion in (1, 5)
    ]


def write_record(folder):
    """Three archives in RAVDESS's layout; the recordings of all of them, by their place in the folder."""
    content = {SOUND: write_zip(folder / SOUND, names(["03"], [1, 2, 3], "wav"))}
    for actor, name in enumerate(FACES, 1):
        content[name] = write_zip(folder / name, names(["01", "02"], [actor], "mp4"), size=20_000)
    return {f"{name[:-4]}/{path}": piece for name, pieces in content.items() for path, piece in pieces.items()}


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """The sums of the real archives are unknown to tests, and no test waits."""
    pauses = []
    for name in list(zenodo.KNOWN_SUMS):
        monkeypatch.delitem(zenodo.KNOWN_SUMS, name)
    monkeypatch.setattr(Downloader, "pause", lambda self, seconds: pauses.append(seconds))
    return pauses


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def content(served):
    return write_record(served)


@pytest.fixture
def server(served, content):
    with serving(served) as server:
        yield server


@pytest.fixture
def get(server, tmp_path):
    """Download speech of actors 1 and 2, or what else is asked for."""

    def get(**options):
        return download_ravdess(tmp_path / "ravdess", **{"actors": [1, 2], "url": server.url, **options})

    return get


@pytest.fixture
def root(tmp_path):
    return tmp_path / "ravdess"


def recordings(root):
    """What a later command would find."""
    files = [path for path in root.rglob("*") if path.suffix in (".wav", ".mp4")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def of_actors(content, *actors):
    return {path: piece for path, piece in content.items() if int(path[-6:-4]) in actors}


class TestComplete:
    def test_all_of_it_is_there_verified_and_nothing_else(self, get, root, content, server):
        done = get(actors=[1, 2])
        assert recordings(root) == of_actors(content, 1, 2)
        assert sorted(path.name for path in root.iterdir()) == sorted(
            [".download.lock", "ravdess.lock.json", *(name[:-4] for name in [SOUND, *FACES])]
        )
        assert (done.files, done.extracted, done.replaced, done.archives) == (12, 12, 0, 3)
        assert done.fetched == sum(path.stat().st_size for path in server.folder.iterdir())
        index = index_ravdess(root)
        assert len(index.clips) == 4
        assert index.set_aside == []

    def test_the_lock_file_pins_every_sum_of_the_record(self, get, root, server):
        get(modality="audio")
        archives = json.loads((root / "ravdess.lock.json").read_text())["archives"]
        assert {name: archive["md5"] for name, archive in archives.items()} == {
            entry["key"]: entry["checksum"].removeprefix("md5:") for entry in server.record()["files"]
        }
        assert len(archives[SOUND]["crc32_and_size"]) == 6  # of all actors, so that others can be told later

    @pytest.mark.parametrize("form", ["old", "inveniordm", "mirror"])
    def test_records_of_other_forms(self, get, root, content, server, form):
        server.form = form
        get(modality="video", actors=[1])
        assert recordings(root) == {path: piece for path, piece in content.items() if path.startswith(FACES[0][:-4])}

    def test_only_what_is_needed_is_fetched(self, get, root, content, server):
        get(modality="video", actors=[2])
        assert [asked.path for asked in server.asked[1:]] == [f"/records/1188976/files/{FACES[1]}?download=1"]
        assert recordings(root).keys() == {path for path in content if path.startswith(FACES[1][:-4])}

    def test_more_actors_later(self, get, root, content, server):
        get(modality="audio", actors=[1])
        assert recordings(root) == {path: piece for path, piece in of_actors(content, 1).items() if "Audio" in path}
        done = get(modality="audio", actors=[1, 3])
        assert (done.files, done.extracted) == (4, 2)
        assert recordings(root).keys() == {path for path in of_actors(content, 1, 3) if "Audio" in path}

    def test_archives_are_kept_on_demand(self, get, root, server):
        get(keep_archives=True)
        for name in [SOUND, *FACES]:
            assert (root / name).read_bytes() == (server.folder / name).read_bytes()
        number = len(server.asked)
        get(keep_archives=True)
        assert len(server.asked) == number


class TestWhatIsThere:
    def test_it_needs_no_server(self, get, root, content, server):
        get()
        number = len(server.asked)
        done = get(url="http://127.0.0.1:1/nobody")
        assert len(server.asked) == number
        assert (done.files, done.extracted, done.fetched) == (12, 0, 0)

    def test_only_what_lacks_is_extracted(self, get, root, content, server):
        get()
        lost = root / FACES[0][:-4] / "Actor_01" / "01-01-05-01-01-01-01.mp4"
        lost.unlink()
        kept = {path: path.stat().st_ino for path in root.rglob("*.mp4")}
        server.asked.clear()
        done = get()
        assert recordings(root) == of_actors(content, 1, 2)
        assert (done.extracted, done.replaced) == (1, 0)
        assert {path: path.stat().st_ino for path in kept} == kept
        assert not server.asked_for(SOUND)
        assert not server.asked_for(FACES[1])

    def test_an_archive_of_ones_own_is_used_and_stays(self, get, root, content, server):
        root.mkdir()
        for name in FACES:
            shutil.copy(server.folder / name, root)
        get(modality="video")
        assert not server.asked_for(FACES[0])
        assert all((root / name).exists() for name in FACES)
        assert recordings(root).keys() == {path for path in content if "Video" in path}

    def test_one_whose_sum_is_known_needs_no_network(self, get, root, content, server, monkeypatch):
        entry = next(entry for entry in server.record()["files"] if entry["key"] == SOUND)
        monkeypatch.setitem(zenodo.KNOWN_SUMS, SOUND, (entry["size"], entry["checksum"].removeprefix("md5:")))
        root.mkdir()
        shutil.copy(server.folder / SOUND, root)
        get(modality="audio", url="http://127.0.0.1:1/nobody")
        assert recordings(root).keys() == {path for path in of_actors(content, 1, 2) if "Audio" in path}

    def test_a_wrong_archive_of_ones_own_is_named_and_left_alone(self, get, root, content, server, capsys):
        root.mkdir()
        (root / FACES[0]).write_bytes(b"PK cut")
        get(modality="video", actors=[1])
        assert (root / FACES[0]).read_bytes() == b"PK cut"
        said = capsys.readouterr().err
        assert f"{FACES[0]} is not as published, and is not used: it has 6 bytes, not " in said
        assert recordings(root).keys() == {path for path in content if path.startswith(FACES[0][:-4])}

    def test_what_differs_is_replaced_and_counted(self, get, root, content, capsys, server):
        get()
        changed = root / FACES[0][:-4] / "Actor_01" / "01-01-05-01-01-01-01.mp4"
        changed.write_bytes(b"resampled")
        command = ["data", "download", str(root), "--actors", "1-2", "--url", server.url]
        assert main(command) == 0
        assert "1 of those extracted took the place of files that differed" in capsys.readouterr().out
        assert recordings(root) == of_actors(content, 1, 2)

    def test_the_rest_of_a_run_that_was_killed_at_its_end_is_taken_away(self, get, root, server):
        get(modality="audio")
        left = root / ".download"
        left.mkdir()
        shutil.copy(server.folder / SOUND, left)
        (left / "03-01-01-01-01-01-01.wav.tmp").write_bytes(b"half")
        (root / ".ravdess.lock.json.x1y2.tmp").write_bytes(b"{")
        get(modality="audio")
        assert not left.exists()
        assert not list(root.glob("*.tmp"))


class TestResume:
    def test_a_transfer_goes_on_in_the_next_run(self, get, root, content, server):
        server.faults[FACES[0]] = [Fault(cut_after=7000)] * 8
        with pytest.raises(DownloadError, match="broke off after 56000 of"):
            get(modality="video", actors=[1])
        assert recordings(root) == {}
        server.asked.clear()
        done = get(modality="video", actors=[1])
        size = (server.folder / FACES[0]).stat().st_size
        (asked,) = server.asked_for(FACES[0])
        assert asked.range == "bytes=56000-"
        assert asked.sent == done.fetched == size - 56_000

    def test_what_can_be_had_is_had(self, get, root, content, server, pauses):
        server.faults[FACES[0]] = [Fault(status=500)] * 8
        with pytest.raises(DownloadError, match=f"{FACES[0]} cannot be had"):
            get()
        assert recordings(root).keys() == {path for path in of_actors(content, 1, 2) if FACES[0][:-4] not in path}
        server.asked.clear()
        get()
        assert recordings(root) == of_actors(content, 1, 2)
        assert {asked.path for asked in server.asked} == {
            "/api/records/1188976",
            f"/records/1188976/files/{FACES[0]}?download=1",
        }

    def test_several_that_cannot_be_had_are_told_together(self, get, server):
        for name in FACES:
            server.faults[name] = [Fault(status=404), Fault(status=404)]
        with pytest.raises(DownloadError, match="2 of 3 archives are not complete") as raised:
            get()
        assert all(name in str(raised.value) for name in FACES)

    def test_an_archive_that_is_here_is_extracted_without_the_server(self, get, root, content, server, monkeypatch):
        def die(*args):
            raise KeyboardInterrupt  # as a kill between fetching and extracting

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("crossmodal.datasets.download.folder.extract_members", die)
            get(modality="video", actors=[1])
        assert recordings(root) == {}
        number = len(server.asked)
        get(modality="video", actors=[1])
        assert len(server.asked) == number
        assert recordings(root).keys() == {path for path in content if path.startswith(FACES[0][:-4])}


class TestRefusals:
    def test_a_record_with_another_sum_than_the_known_one(self, get, root, server, monkeypatch):
        monkeypatch.setitem(zenodo.KNOWN_SUMS, SOUND, SUM_OF_SOUND)
        with pytest.raises(ChecksumError, match=f"{SOUND} is known to have 208468073 bytes and md5 bc696df6"):
            get(modality="video")
        assert recordings(root) == {}
        assert len(server.asked) == 1

    def test_a_record_that_changed(self, get, root, content, server):
        get(modality="audio")
        write_zip(server.folder / FACES[0], names(["01"], [1], "mp4"))
        with pytest.raises(ChecksumError, match=rf"{FACES[0]} has .* remove the lock file and start anew"):
            get()
        assert recordings(root).keys() == {path for path in of_actors(content, 1, 2) if "Audio" in path}
        (root / "ravdess.lock.json").unlink()
        get()

    def test_a_wrong_md5_is_fetched_again_once(self, get, root, content, server):
        server.faults[FACES[0]] = [Fault(flip=100)]
        get()
        assert recordings(root) == of_actors(content, 1, 2)
        server.faults[FACES[1]] = [Fault(flip=100), Fault(flip=200)]
        shutil.rmtree(root / FACES[1][:-4])
        with pytest.raises(ChecksumError, match=f"{FACES[1]} has md5 .* twice in a row"):
            get()
        assert recordings(root).keys() == {path for path in of_actors(content, 1, 2) if FACES[1][:-4] not in path}

    def test_an_archive_that_no_one_should_extract(self, get, root, server, tmp_path):
        with zipfile.ZipFile(server.folder / FACES[0], "w") as archive:
            archive.writestr("Actor_01/01-01-05-01-01-01-01.mp4", b"good")
            archive.writestr("../../escaped.mp4", b"bad")
        with pytest.raises(ArchiveError, match="may leave the folder"):
            get(modality="video", actors=[1])
        assert recordings(tmp_path) == {}

    def test_a_record_without_some_of_the_archives(self, get, root, server):
        (server.folder / FACES[1]).unlink()
        with pytest.raises(DownloadError, match=rf"lacks 1 of the archives: {FACES[1]}"):
            get()
        assert recordings(root) == {}

    def test_a_disk_that_is_too_small(self, get, root, server, monkeypatch):
        monkeypatch.setattr(ravdess.shutil, "disk_usage", lambda path: SimpleNamespace(free=123_000))
        with pytest.raises(DiskSpaceError, match=r"with 123000 bytes free; needed are about \d+ bytes: \d+ bytes"):
            get()
        assert [asked.path for asked in server.asked] == ["/api/records/1188976"]
        assert recordings(root) == {}

    def test_the_room_for_archives_is_that_of_those_at_a_time(self, get, root, server, monkeypatch):
        sizes = {name: (server.folder / name).stat().st_size for name in [SOUND, *FACES]}
        recordings = sum(round(size * 1.05) for name, size in sizes.items() if name != SOUND)
        recordings += round(sizes[SOUND] * 3.0 * 2 / 24)
        for options, archives in (
            ({"num_connections": 1}, max(sizes.values())),
            ({"keep_archives": True}, sum(sizes.values())),
        ):
            needed = recordings + archives
            free = SimpleNamespace(free=needed - 1)
            monkeypatch.setattr(ravdess.shutil, "disk_usage", lambda path, free=free: free)
            with pytest.raises(DiskSpaceError, match=f"needed are about {needed} bytes"):
                get(**options)
            free.free = needed
            get(**options)
            shutil.rmtree(root)

    def test_a_disk_that_fills_up_meanwhile(self, get, root, content, monkeypatch):
        free = iter([10**9, 1000, 1000])
        monkeypatch.setattr(ravdess.shutil, "disk_usage", lambda path: SimpleNamespace(free=next(free)))
        with pytest.raises(DiskSpaceError, match=f"{FACES[0]}: its recordings need 80000 bytes more"):
            get(modality="video", actors=[1])
        assert recordings(root) == {}

    def test_a_disk_that_is_full(self, get, root, monkeypatch):
        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("crossmodal.datasets.download.archive.os.fsync", full)
        with pytest.raises(DiskSpaceError, match=r"is full \(No space left on device\)"):
            get(modality="video", actors=[1])
        assert recordings(root) == {}

    def test_a_folder_that_cannot_be_one(self, get, tmp_path):
        (tmp_path / "ravdess").write_text("a file")
        with pytest.raises(ConfigError, match="ravdess cannot be written"):
            get()

    def test_the_folder_of_a_synthetic_corpus(self, get, root):
        root.mkdir()
        (root / "synthetic.json").write_text("{}")
        with pytest.raises(ConfigError, match="holds a synthetic corpus"):
            get()

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"actors": []}, "actors are 1 to 24"),
            ({"actors": [0, 3]}, r"not \[0\]"),
            ({"actors": [18], "channel": "song"}, "actor 18 did not sing"),
            ({"num_connections": 0}, "1 to 8 files"),
            ({"num_connections": 99}, "1 to 8 files"),
        ],
    )
    def test_arguments_out_of_range(self, get, root, options, reason):
        with pytest.raises(ConfigError, match=reason):
            get(**options)
        assert not root.exists()

    def test_a_lock_file_that_cannot_be_read(self, get, root):
        get(modality="audio")
        (root / "ravdess.lock.json").write_text("{")
        with pytest.raises(DataError, match="cannot be read"):
            get(modality="audio")

    def test_a_mistake_of_ours_is_not_hidden(self, get, monkeypatch):
        monkeypatch.setattr("crossmodal.datasets.download.folder.list_members", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            get(modality="audio")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """One for many examples."""
    folder = tmp_path_factory.mktemp("damage")
    (folder / "served").mkdir()
    content = write_record(folder / "served")
    with serving(folder / "served") as server:
        yield server, folder / "ravdess", content


class TestAnyDamage:
    """Whatever happens to a file between two runs, the next one notices, and brings it back."""

    @given(st.data())
    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_of_a_recording_or_an_archive(self, corpus, data):
        server, root, content = corpus
        download_ravdess(root, actors=[1, 2], url=server.url, keep_archives=True)
        kept = {name: (server.folder / name).read_bytes() for name in [SOUND, *FACES]}
        good = {**of_actors(content, 1, 2), **kept}
        path = data.draw(st.sampled_from(sorted(good)))
        whole = good[path]
        if data.draw(st.booleans()):
            damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
        else:
            at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
            damaged = whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
        stat = (root / path).stat()
        (root / path).write_bytes(damaged)
        os.utime(root / path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # its date does not give it away
        done = download_ravdess(root, actors=[1, 2], url=server.url, keep_archives=True)
        assert (done.extracted, done.replaced) == ((0, 0) if path in kept else (1, 1))
        assert {name: (root / name).read_bytes() for name in good} == good


class TestSeveralAtOnce:
    def test_files_are_fetched_side_by_side(self, get, server):
        """Each waits for the other: one after the other, this would never end."""
        both = threading.Barrier(2, timeout=20)
        meet = SimpleNamespace(wait=lambda seconds: both.wait())
        for name in FACES:
            server.faults[name] = [Fault(wait=meet)]
        get(modality="video", num_connections=2)
        assert not both.broken

    def test_two_downloads_into_one_folder(self, get, root, content, server, capsys):
        release = threading.Event()
        server.faults[FACES[0]] = [Fault(wait=release)]
        done = []
        threads = [threading.Thread(target=lambda: done.append(get(modality="video"))) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        release.set()
        for thread in threads:
            thread.join()
        assert sorted(one.extracted for one in done) == [0, 8]
        assert [len(server.asked_for(f"{name}?")) for name in FACES] == [1, 1]
        assert recordings(root).keys() == {path for path in content if "Video" in path}
        assert f"Another download into {root} is going on; waiting for it." in capsys.readouterr().out


CODE = "import sys; from crossmodal.datasets.download import zenodo; zenodo.KNOWN_SUMS.clear(); "
CODE += "from crossmodal.cli.main import main; sys.exit(main())"


def start(root, server, *options):
    """The real command, in a process of its own."""
    command = [sys.executable, "-c", CODE, "data", "download", str(root), "--url", server.url, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(ready, process):
    deadline = time.monotonic() + 60
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


class TestKilled:
    def test_in_a_transfer(self, root, content, server):
        release = threading.Event()
        server.faults[FACES[0]] = [Fault(wait=release)]
        part = root / ".download" / f"{FACES[0]}.part"
        process = start(root, server, "--modality=video", "--actors=1")
        wait_until(lambda: part.exists() and part.stat().st_size, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        release.set()
        assert recordings(root) == {}
        here = part.stat().st_size
        server.asked.clear()
        download_ravdess(root, modality="video", actors=[1], url=server.url)
        (asked,) = server.asked_for(FACES[0])
        assert asked.range == f"bytes={here}-"
        assert asked.sent == (server.folder / FACES[0]).stat().st_size - here
        assert recordings(root) == {path: piece for path, piece in content.items() if path.startswith(FACES[0][:-4])}

    def test_while_extracting(self, root, served):
        fields = itertools.product(["01", "02"], ["05", "06", "07", "08"], ["01", "02"], ["01", "02"], ["01", "02"])
        many = ["{}-01-{}-{}-{}-{}-01.mp4".format(*some) for some in fields]
        content = write_zip(served / FACES[0], many, size=200_000)
        with serving(served) as server:
            process = start(root, server, "--modality=video", "--actors=1")
            wait_until(lambda: len(list(root.rglob("*.mp4"))) >= 3, process)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            there = {path: path.read_bytes() for path in root.rglob("*.mp4")}
            assert 3 <= len(there) < len(many)
            for path, piece in there.items():
                assert piece == content[f"Actor_01/{path.name}"]
            server.asked.clear()
            done = download_ravdess(root, modality="video", actors=[1], url=server.url)
            assert server.asked == []  # the archive is here, and its sum is pinned
        assert done.extracted == len(many) - len(there)
        assert {path.name: path.read_bytes() for path in root.rglob("*.mp4")} == {
            path.removeprefix("Actor_01/"): piece for path, piece in content.items()
        }

    def test_by_ctrl_c(self, root, content, server):
        release = threading.Event()
        server.faults[FACES[0]] = [Fault(wait=release)]
        part = root / ".download" / f"{FACES[0]}.part"
        process = start(root, server, "--modality=video", "--actors=1")
        wait_until(lambda: part.exists() and part.stat().st_size, process)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        assert time.monotonic() - begun < 10  # the thread waits for a silent server, and nobody waits for the thread
        release.set()
        assert process.returncode == 130
        assert error.splitlines()[-1].endswith("to resume")
        assert "Traceback" not in error
        download_ravdess(root, modality="video", actors=[1], url=server.url)
        assert server.asked[-1].range.startswith("bytes=")


class TestCommand:
    def test_it_says_what_it_did_and_what_is_next(self, root, server, capsys):
        command = ["data", "download", str(root), "--actors=1-2", "--url", server.url]
        assert main(command) == 0
        out, err = capsys.readouterr()
        assert re.search(rf"12 recordings of 3 archive.*{re.escape(str(root))}: 12 extracted, 0 already", out)
        assert "CC BY-NC-SA 4.0; cite Livingstone & Russo (2018)" in out
        assert out.endswith(f"Next: crossmodal data check {root}\n")
        assert re.search(r"To fetch: 3 archive\(s\), \d+ bytes\. On the disk: about \d+ bytes needed, .* free\.", err)
        assert f"{FACES[0]}: verified, 4 recording(s) extracted" in err
        assert main(command) == 0
        assert "0 extracted, 12 already present; 0 bytes" in capsys.readouterr().out

    def test_waiting_is_told(self, root, server, capsys):
        server.faults[FACES[0]] = [Fault(status=429, headers=(("Retry-After", "59"),))]
        assert main(["data", "download", str(root), "--modality=video", "--actors=1", "--url", server.url]) == 0
        assert f"{FACES[0]}: 127.0.0.1:" in (error := capsys.readouterr().err)
        assert "answers 429 Too Many Requests; again in 59 s" in error

    def test_an_error_is_one_line_and_status_1(self, root, server, capsys):
        server.faults["record"] = [Fault(status=404)]
        assert main(["data", "download", str(root), "--url", server.url]) == 1
        error = capsys.readouterr().err
        assert re.search(r"^crossmodal data download: http://\S+ cannot be had: .* answers 404", error, re.MULTILINE)
        assert "Traceback" not in error

    @pytest.mark.parametrize(
        ("text", "actors"),
        [("1-4", [1, 2, 3, 4]), ("7", [7]), ("9-10, 1,9", [1, 9, 10]), ("1-24", list(range(1, 25))), ("05", [5])],
    )
    def test_actors(self, text, actors):
        assert parse_actors(text) == actors

    @pytest.mark.parametrize("text", ["", "0", "25", "4-1", "1-", "a", "1-99999999999", "1,,2", "-3", "1 2"])
    def test_actors_that_are_none(self, text, capsys, root):
        with pytest.raises(ConfigError, match="give numbers from 1 to 24"):
            parse_actors(text)
        assert main(["data", "download", str(root), f"--actors={text}"]) == 1
        assert "--actors" in capsys.readouterr().err
        assert not root.exists()
