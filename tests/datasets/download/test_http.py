import contextlib
import hashlib
import socket
import ssl
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from crossmodal.datasets.download import http, web
from crossmodal.datasets.download.http import Downloader, StoppedError
from crossmodal.datasets.download.web import BrokenError, RemoteFile
from crossmodal.errors import ChecksumError, DownloadError
from tests.datasets.download.zenodo_server import Fault, recording, serving

NAME = "Video_Speech_Actor_01.zip"
SIZE = 100_000


class RecordingWatcher:
    """A watcher that records all calls."""

    def __init__(self):
        self.positions, self.texts = [], []

    def set_position(self, position):
        self.positions.append(position)

    def show(self, text):
        self.texts.append(text)


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / NAME).write_bytes(recording(NAME, SIZE))
    with serving(folder) as server:
        yield server


@pytest.fixture
def content(server):
    return (server.folder / NAME).read_bytes()


@pytest.fixture
def file(server, content):
    md5 = hashlib.md5(content).hexdigest()
    return RemoteFile(NAME, SIZE, md5, (f"{server.base}/records/1188976/files/{NAME}?download=1",))


@pytest.fixture
def pauses(monkeypatch):
    """Record the pauses instead of sleeping."""
    pauses = []
    monkeypatch.setattr(Downloader, "pause", lambda self, seconds: pauses.append(seconds))
    return pauses


@pytest.fixture
def target(tmp_path):
    return tmp_path / NAME


@pytest.fixture
def part(tmp_path):
    return tmp_path / f"{NAME}.part"


def fetch(file, target, **options):
    watcher = RecordingWatcher()
    Downloader(**options).fetch(file, target, watcher)
    return watcher


def sent(server):
    return sum(request.sent for request in server.requests)


class TestComplete:
    def test_complete_download_leaves_no_partial_file(self, server, file, content, target, part):
        watcher = fetch(file, target)
        assert target.read_bytes() == content
        assert not part.exists()
        assert (watcher.positions[0], watcher.positions[-1]) == (0, SIZE)
        assert watcher.positions == sorted(watcher.positions)
        (request,) = server.requests
        assert request.range is None
        assert request.agent.startswith("crossmodal/")

    def test_target_appears_only_when_complete(self, server, file, target, part):
        release = threading.Event()
        server.faults[NAME] = [Fault(wait=release)]
        thread = threading.Thread(target=fetch, args=(file, target))
        thread.start()
        while not (part.exists() and part.stat().st_size):
            assert thread.is_alive()
            time.sleep(0.002)
        assert not target.exists()
        release.set()
        thread.join()
        assert target.stat().st_size == SIZE


class TestResume:
    def test_resumes_after_lost_connections(self, server, file, content, target, pauses):
        server.faults[NAME] = [Fault(cut_after=30_000), Fault(cut_after=50_000)]
        watcher = fetch(file, target)
        assert target.read_bytes() == content
        assert [request.range for request in server.requests] == [None, "bytes=30000-", "bytes=80000-"]
        assert sent(server) == SIZE
        assert f"30000 of {SIZE} bytes" in watcher.texts[0]

    def test_partial_file_of_an_earlier_run_is_resumed(self, server, file, content, target, part):
        part.write_bytes(content[:60_000])
        fetch(file, target)
        assert target.read_bytes() == content
        assert [request.range for request in server.requests] == ["bytes=60000-"]
        assert sent(server) == 40_000

    def test_complete_partial_file_needs_no_request(self, server, file, content, target, part):
        part.write_bytes(content)
        fetch(file, target)
        assert target.read_bytes() == content
        assert server.requests == []

    def test_partial_file_that_is_too_long_is_discarded(self, server, file, content, target, part):
        part.write_bytes(content + b"more")
        fetch(file, target)
        assert target.read_bytes() == content
        assert [request.range for request in server.requests] == [None]

    def test_damaged_partial_file_restarts_the_download(self, server, file, content, target, part):
        part.write_bytes(bytes(60_000))
        watcher = fetch(file, target)
        assert target.read_bytes() == content
        assert [request.range for request in server.requests] == ["bytes=60000-", None]
        assert any("md5" in text for text in watcher.texts)

    def test_server_without_range_support(self, server, file, content, target, part, pauses):
        """Existing bytes are skipped and kept, also if the connection is lost before new bytes arrive."""
        part.write_bytes(content[:60_000])
        server.faults[NAME] = [Fault(ignore_range=True, cut_after=40_000), Fault(ignore_range=True, cut_after=80_000)]
        watcher = fetch(file, target)
        assert target.read_bytes() == content
        assert [request.range for request in server.requests] == ["bytes=60000-", "bytes=60000-", "bytes=80000-"]
        assert min(watcher.positions) == 60_000

    @pytest.mark.parametrize(
        ("range_header", "reason"),
        [
            ("bytes 70000-99999/100000", "byte 60000"),
            ("bytes 60000-99998/99999", "99999 bytes.* 100000"),
            ("rubbish", "byte 60000"),
        ],
    )
    def test_wrong_content_range(self, server, file, content, target, part, range_header, reason):
        part.write_bytes(content[:60_000])
        server.faults[NAME] = [Fault(range_header=range_header)]
        with pytest.raises(DownloadError, match=reason):
            fetch(file, target)
        assert part.read_bytes() == content[:60_000]

    def test_content_range_without_size(self, server, file, content, target, part):
        part.write_bytes(content[:60_000])
        server.faults[NAME] = [Fault(range_header="bytes 60000-99999/*")]
        fetch(file, target)
        assert target.read_bytes() == content


class TestChecksum:
    def test_wrong_checksum_is_downloaded_once_more(self, server, file, content, target, part):
        server.faults[NAME] = [Fault(flip=50_000)]
        fetch(file, target)
        assert target.read_bytes() == content
        assert [request.range for request in server.requests] == [None, None]

    def test_second_wrong_checksum_is_an_error(self, server, file, target, part):
        server.faults[NAME] = [Fault(flip=50_000), Fault(flip=0)]
        with pytest.raises(ChecksumError, match=file.md5):
            fetch(file, target)
        assert not target.exists()
        assert not part.exists()
        assert len(server.requests) == 2

    def test_other_etag_is_rejected(self, server, file, target):
        (server.folder / NAME).write_bytes(recording("other", SIZE))
        with pytest.raises(DownloadError, match=f"md5:[0-9a-f]+.* md5:{file.md5}"):
            fetch(file, target)
        assert not target.exists()

    def test_other_size_is_rejected(self, server, file, target):
        server.faults[NAME] = [Fault(body=b"short")]
        with pytest.raises(DownloadError, match=r"5 bytes.* 100000"):
            fetch(file, target)

    def test_web_page_is_rejected(self, server, file, target):
        page = Fault(body=b"<html>" * 100, headers=(("Content-Type", "text/html; charset=utf-8"),))
        server.faults[NAME] = [page]
        with pytest.raises(DownloadError, match="page"):
            fetch(file, target)


class TestPoliteness:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_temporary_errors_are_retried_with_growing_pauses(self, server, file, content, target, pauses, status):
        server.faults[NAME] = [Fault(status=status)] * 4
        watcher = fetch(file, target)
        assert target.read_bytes() == content
        assert len(server.requests) == 5
        for seconds, full in zip(pauses, (1, 2, 4, 8), strict=True):
            assert full / 2 <= seconds <= full
        assert f" {status} " in watcher.texts[0]

    def test_pauses_of_many_clients_differ(self, server, file, target, pauses):
        server.faults[NAME] = [Fault(status=503)] * 4
        fetch(file, target)
        first = list(pauses)
        target.unlink()
        server.faults[NAME] = [Fault(status=503)] * 4
        fetch(file, target)
        assert pauses[4:] != first

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_in_seconds(self, server, file, target, pauses, status):
        server.faults[NAME] = [Fault(status=status, headers=(("Retry-After", "59"),))]
        watcher = fetch(file, target)
        assert pauses[0] == 59
        assert watcher.texts[0].endswith("59 s")

    def test_retry_after_as_a_date(self, server, file, target, pauses):
        date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=100), usegmt=True)
        server.faults[NAME] = [Fault(status=429, headers=(("Retry-After", date),))]
        fetch(file, target)
        assert 95 < pauses[0] <= 100

    @pytest.mark.parametrize("words", ["", "soon", "-5", "Wed, 21 Oct 2015 07:28:00"])
    def test_invalid_retry_after(self, server, file, target, pauses, words):
        server.faults[NAME] = [Fault(status=429, headers=(("Retry-After", words),))]
        fetch(file, target)
        assert pauses[0] <= 1

    def test_retry_after_of_hours_is_an_error(self, server, file, target, pauses):
        server.faults[NAME] = [Fault(status=429, headers=(("Retry-After", "7200"),))]
        with pytest.raises(DownloadError, match=r"429 Too Many Requests.* 2\.0 hours"):
            fetch(file, target)
        assert pauses == []

    def test_pause_is_shared_between_downloads(self, server, file, target, pauses):
        downloader = Downloader(tries=1)
        server.faults[NAME] = [Fault(status=429, headers=(("Retry-After", "30"),))]
        with pytest.raises(DownloadError):
            downloader.fetch(file, target, RecordingWatcher())
        assert pauses == []
        downloader.fetch(file, target, RecordingWatcher())
        assert 25 < pauses[0] <= 30

    def test_number_of_tries_is_limited(self, server, file, content, target, part, pauses):
        server.faults[NAME] = [Fault(cut_after=1000)] * 9
        with pytest.raises(DownloadError, match=r"8000 of 100000 bytes .*8 tries"):
            fetch(file, target)
        assert len(server.requests) == 8
        assert part.read_bytes() == content[:8000]  # the next call resumes there

    def test_tries_with_progress_do_not_count(self, server, file, content, target, pauses, monkeypatch):
        monkeypatch.setattr(http, "REAL_PROGRESS", 5000)
        server.faults[NAME] = [Fault(cut_after=5000)] * 19
        fetch(file, target)
        assert target.read_bytes() == content
        assert max(pauses) <= 1

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
    def test_permanent_errors_are_not_retried(self, server, file, target, pauses, status):
        server.faults[NAME] = [Fault(status=status)]
        with pytest.raises(DownloadError, match=rf"127\.0\.0\.1:\d+ .* {status} "):
            fetch(file, target)
        assert len(server.requests) == 1

    def test_next_url_is_used_after_a_permanent_error(self, server, file, content, target, part):
        part.write_bytes(content[:60_000])
        api = f"{server.base}/api/records/1188976/files/{NAME}/content"  # without Range support
        file = RemoteFile(NAME, SIZE, file.md5, (*file.urls, api))
        server.faults[NAME] = [Fault(status=404)]
        fetch(file, target)
        assert target.read_bytes() == content
        assert [request.path.endswith("/content") for request in server.requests] == [False, True]

    @pytest.mark.parametrize(
        "url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "nonsense", "http://a b/", "http://[x/"]
    )
    def test_only_http_urls_are_allowed(self, target, url):
        with pytest.raises(DownloadError, match="download"):
            fetch(RemoteFile(NAME, 3, "0" * 32, (url,)), target)


class TestServersThatFail:
    def test_restarted_server(self, file, content, server, target, monkeypatch):
        server.faults[NAME] = [Fault(cut_after=30_000)]
        with contextlib.ExitStack() as stack:
            again = []

            def die():
                server.shutdown()
                server.server_close()

            def come_back():
                again.append(stack.enter_context(serving(server.folder, port=server.server_address[1])))

            meanwhile = iter([die, come_back])
            monkeypatch.setattr(Downloader, "pause", lambda self, seconds: next(meanwhile)())
            watcher = fetch(file, target)
        assert target.read_bytes() == content
        assert [request.range for request in again[0].requests] == ["bytes=30000-"]
        assert [text for text in watcher.texts if "Connection refused" in text]

    def test_refused_connection(self, target, pauses):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/{NAME}"
            with pytest.raises(DownloadError, match=r"127\.0\.0\.1:\d+: Connection refused .*8 tries"):
                fetch(RemoteFile(NAME, 3, "0" * 32, (url,)), target)
        assert len(pauses) == 7
        assert max(pauses) <= 60

    def test_silent_server(self, server, file, content, target, pauses):
        release = threading.Event()
        server.faults[NAME] = [Fault(wait=release)]
        watcher = fetch(file, target, timeout=0.2)
        release.set()
        assert target.read_bytes() == content
        assert "timed out" in watcher.texts[0]
        assert server.requests[1].range.startswith("bytes=")

    def test_server_without_a_response(self, target, pauses):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"http://127.0.0.1:{mute.getsockname()[1]}/{NAME}"
            with pytest.raises(DownloadError, match="timed out"):
                fetch(RemoteFile(NAME, 3, "0" * 32, (url,)), target, timeout=0.05, tries=2)

    def test_server_that_is_not_http(self, target, pauses):
        with socket.create_server(("127.0.0.1", 0)) as odd:
            thread = threading.Thread(target=lambda: odd.accept()[0].sendall(b"SSH-2.0-OpenSSH_9.6\r\n"))
            thread.start()
            url = f"http://127.0.0.1:{odd.getsockname()[1]}/{NAME}"
            with pytest.raises(DownloadError, match="SSH"):
                fetch(RemoteFile(NAME, 3, "0" * 32, (url,)), target, timeout=1, tries=1)
            thread.join()

    def test_stalled_transfer(self, monkeypatch):
        """A byte every ten seconds keeps the connection alive without real progress."""
        clock = iter(range(0, 10_000, 10))
        monkeypatch.setattr(http.time, "monotonic", lambda: next(clock))

        class Trickle:
            def read1(self, size):
                return b"x"

        with pytest.raises(BrokenError, match="60 s"):
            for _ in zip(Downloader()._pieces(Trickle()), range(100), strict=False):
                pass

    def test_untrusted_certificate(self, monkeypatch, target, pauses):
        def refuse(request, timeout):
            error = ssl.SSLCertVerificationError("certificate verify failed")
            error.verify_message = "unable to get local issuer certificate"
            raise web.URLError(error)

        monkeypatch.setattr(web, "urlopen", refuse)
        with pytest.raises(DownloadError, match=r"zenodo\.example .*unable to get local issuer"):
            fetch(RemoteFile(NAME, 3, "0" * 32, ("https://zenodo.example/a",)), target)
        assert pauses == []


class TestRead:
    def test_small_response(self, server):
        assert b'"files"' in Downloader().read(server.url, RecordingWatcher())

    def test_interrupted_response_is_retried(self, server, pauses):
        server.faults["record"] = [Fault(cut_after=10), Fault(status=502)]
        assert b'"files"' in Downloader().read(server.url, RecordingWatcher())
        assert len(server.requests) == 3

    def test_response_that_is_too_large(self, server, monkeypatch):
        monkeypatch.setattr(http, "_LARGEST_ANSWER", 100)
        with pytest.raises(DownloadError, match="100 bytes"):
            Downloader().read(server.url, RecordingWatcher())


class TestStop:
    def test_received_bytes_are_written_immediately(self, part):
        """An interrupted download loses no received bytes."""
        with http._Part(part, 3, list) as opened:
            opened.append(b"ab")
            assert part.read_bytes() == b"ab"
            opened.append(b"cde")
            assert part.read_bytes() == b"abc"

    def test_pause_ends_immediately(self):
        downloader = Downloader()
        threading.Timer(0.05, downloader.stop).start()
        with pytest.raises(StoppedError):
            downloader.pause(600)

    def test_nothing_is_written_after_a_stop(self, server, file, content, target, part):
        downloader, release = Downloader(), threading.Event()
        server.faults[NAME] = [Fault(wait=release)]
        ended = []

        def run():
            with pytest.raises(StoppedError):
                downloader.fetch(file, target, RecordingWatcher())
            ended.append(True)

        thread = threading.Thread(target=run)
        thread.start()
        while not (part.exists() and part.stat().st_size):
            assert thread.is_alive()
            time.sleep(0.002)
        time.sleep(0.05)  # it has written the received bytes and waits for more
        downloader.stop()
        received = part.read_bytes()
        release.set()
        thread.join()
        assert ended == [True]
        assert not target.exists()
        assert part.read_bytes() == received
        assert content.startswith(received)
