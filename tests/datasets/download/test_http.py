import hashlib
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.error import URLError

import pytest

from crossmodal.datasets.download import http
from crossmodal.datasets.download.http import Downloader, RemoteFile, StoppedError
from crossmodal.errors import ChecksumError, DownloadError
from tests.datasets.download.zenodo_server import Fault, recording, serving

NAME = "Video_Speech_Actor_01.zip"
SIZE = 100_000


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
    monkeypatch.setattr(Downloader, "pause", lambda self, seconds: seconds and pauses.append(seconds))
    return pauses


@pytest.fixture
def target(tmp_path):
    return tmp_path / NAME


@pytest.fixture
def part(tmp_path):
    return tmp_path / f"{NAME}.part"


def fetch(file, target, **options):
    counts, messages = [], []
    Downloader(messages.append, **options).fetch(file, target, counts.append)
    return counts, messages


def ranges(server):
    return [request.range for request in server.requests]


def test_complete_download_leaves_no_partial_file(server, file, content, target, part):
    counts, messages = fetch(file, target)
    assert target.read_bytes() == content
    assert not part.exists()
    assert (sum(counts), messages) == (SIZE, [])
    assert ranges(server) == [None]
    assert server.requests[0].agent.startswith("crossmodal/")


class TestResume:
    def test_lost_connections(self, server, file, content, target, pauses):
        server.faults[NAME] = [Fault(cut_after=30_000), Fault(cut_after=50_000)]
        _, messages = fetch(file, target)
        assert target.read_bytes() == content
        assert ranges(server) == [None, "bytes=30000-", "bytes=80000-"]
        assert sum(request.sent for request in server.requests) == SIZE
        assert f"30000 of {SIZE} bytes" in messages[0]

    @pytest.mark.parametrize(
        ("existing", "requested"),
        [
            (lambda content: content[:60_000], ["bytes=60000-"]),
            (lambda content: content, []),
            (lambda content: content + b"more", [None]),
            (lambda content: bytes(60_000), ["bytes=60000-", None]),  # damaged
        ],
    )
    def test_partial_file_of_an_earlier_run(self, server, file, content, target, part, existing, requested):
        part.write_bytes(existing(content))
        fetch(file, target)
        assert target.read_bytes() == content
        assert ranges(server) == requested

    def test_server_without_range_support_starts_again(self, server, file, content, target, part):
        part.write_bytes(content[:60_000])
        server.faults[NAME] = [Fault(ignore_range=True)]
        counts, _ = fetch(file, target)
        assert target.read_bytes() == content
        assert sum(counts) == SIZE - 60_000  # the progress bar began with the partial file


class TestChecksum:
    def test_wrong_checksum_is_downloaded_once_more(self, server, file, content, target):
        server.faults[NAME] = [Fault(flip=50_000)]
        counts, messages = fetch(file, target)
        assert target.read_bytes() == content
        assert (sum(counts), ranges(server)) == (SIZE, [None, None])
        assert "md5" in messages[0]

    @pytest.mark.parametrize(
        ("faults", "error", "reason"),
        [
            ([Fault(flip=50_000), Fault(flip=0)], ChecksumError, " md5 "),
            ([Fault(body=b"short")], DownloadError, "5 bytes.* 100000"),
            (
                [Fault(body=b"<html>" * 100, headers=(("Content-Type", "text/html; charset=utf-8"),))],
                DownloadError,
                "page",
            ),
        ],
    )
    def test_other_content_is_refused(self, server, file, target, part, faults, error, reason):
        server.faults[NAME] = faults
        with pytest.raises(error, match=reason) as caught:
            fetch(file, target)
        assert (file.md5 in str(caught.value)) == (error is ChecksumError)
        assert not target.exists()
        assert error is DownloadError or not part.exists()


class TestRetries:
    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_temporary_errors_are_retried_with_growing_random_pauses(self, server, file, target, pauses, status):
        for _ in range(2):
            server.faults[NAME] = [Fault(status=status)] * 4
            _, messages = fetch(file, target)
            target.unlink()
            assert f" {status} " in messages[0]
        for seconds, full in zip(pauses, (1, 2, 4, 8) * 2, strict=True):
            assert full / 2 <= seconds <= full
        assert pauses[:4] != pauses[4:]  # of many clients

    @pytest.mark.parametrize(("value", "least", "most"), [("59", 59, 59), ("99999", 3600, 3600), ("soon", 0.5, 1)])
    def test_retry_after(self, server, file, target, pauses, value, least, most):
        server.faults[NAME] = [Fault(status=429, headers=(("Retry-After", value),))]
        fetch(file, target)
        assert least <= pauses[0] <= most

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
        server.faults["record"] = [Fault(cut_after=10), Fault(status=502)]
        server.requests.clear()
        assert b'"files"' in Downloader(print).read(server.url)  # a small response
        assert len(server.requests) == 3

    @pytest.mark.parametrize("status", [400, 403, 404])
    def test_next_url_is_used_after_a_permanent_error(self, server, file, content, target, part, pauses, status):
        part.write_bytes(content[:60_000])
        server.faults[NAME] = [Fault(status=status)] * 2
        with pytest.raises(DownloadError, match=rf"127\.0\.0\.1:\d+/.* {status} "):
            fetch(file, target)
        assert len(server.requests) == 1
        api = f"{server.base}/api/records/1188976/files/{NAME}/content"  # without Range support
        fetch(RemoteFile(NAME, SIZE, file.md5, (*file.urls, api)), target)
        assert target.read_bytes() == content
        assert [request.path.endswith("/content") for request in server.requests] == [False, False, True]

    @pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "http://a b/", "http://[x/"])
    def test_invalid_urls(self, target, url):
        with pytest.raises(DownloadError, match="download"):
            fetch(RemoteFile(NAME, 3, "0" * 32, (url,)), target)

    def test_silent_server(self, server, file, content, target, pauses):
        release = threading.Event()
        server.faults[NAME] = [Fault(wait=release)]
        _, messages = fetch(file, target, timeout=0.2)
        release.set()
        assert target.read_bytes() == content
        assert "timed out" in messages[0]
        assert server.requests[1].range.startswith("bytes=")

    @pytest.mark.parametrize(("response", "reason"), [(b"", "closed|reset"), (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH")])
    def test_server_that_is_not_http(self, target, pauses, response, reason):
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=lambda: [server.accept()[0].sendall(response) for _ in range(8)])
            thread.start()
            url = f"http://127.0.0.1:{server.getsockname()[1]}/{NAME}"
            with pytest.raises(DownloadError, match=reason):
                fetch(RemoteFile(NAME, 3, "0" * 32, (url,)), target, timeout=0.05)
            thread.join()

    def test_untrusted_certificate(self, monkeypatch, target, pauses):
        def refuse(request, timeout):
            error = ssl.SSLCertVerificationError("certificate verify failed")
            error.verify_message = "unable to get local issuer"
            raise URLError(error)

        monkeypatch.setattr(http, "urlopen", refuse)
        with pytest.raises(DownloadError, match=r"zenodo\.example.* unable to get local issuer"):
            fetch(RemoteFile(NAME, 3, "0" * 32, ("https://zenodo.example/a",)), target)
        assert pauses == []


class TestStop:
    def test_nothing_is_written_after_a_stop(self, server, file, content, target, part):
        downloader, release = Downloader(print), threading.Event()
        server.faults[NAME] = [Fault(wait=release)]
        with ThreadPoolExecutor(1) as pool:
            fetching = pool.submit(downloader.fetch, file, target)
            while not (part.exists() and part.stat().st_size):
                assert not fetching.done()
                time.sleep(0.002)
            time.sleep(0.05)  # it has written the received bytes and waits for more
            downloader.stop()
            received = part.read_bytes()
            assert content.startswith(received)
            release.set()
            with pytest.raises(StoppedError):
                fetching.result()
        assert not target.exists()
        assert part.read_bytes() == received
