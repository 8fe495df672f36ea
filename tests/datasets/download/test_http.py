import socket
import threading

import pytest

from crossmodal.datasets.download import http
from crossmodal.errors import DownloadError
from tests.datasets.download.zenodo_server import Fault, recording, serving

NAME = "Video_Speech_Actor_01.zip"
SIZE = 100_000
CONTENT = recording(NAME, SIZE)


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    with serving(folder) as server:
        yield server


@pytest.fixture
def url(server):
    return f"{server.base}/records/1188976/files/{NAME}?download=1"


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Record the pauses instead of sleeping."""
    pauses = []
    monkeypatch.setattr(http.time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def part(tmp_path):
    return tmp_path / f"{NAME}.part"


def fetch(url, part, size=SIZE):
    counts, messages = [], []
    http.fetch(url, part, size, messages.append, counts.append)
    return counts, messages


def ranges(server):
    return [request.range for request in server.requests]


def test_complete_download(server, url, part):
    counts, messages = fetch(url, part)
    assert part.read_bytes() == CONTENT
    assert (sum(counts), messages) == (SIZE, [])
    assert ranges(server) == [None]
    assert server.requests[0].agent.startswith("crossmodal/")


class TestResume:
    def test_lost_connections(self, server, url, part):
        server.faults[NAME] = [Fault(cut_after=30_000), Fault(cut_after=50_000)]
        _, messages = fetch(url, part)
        assert part.read_bytes() == CONTENT
        assert ranges(server) == [None, "bytes=30000-", "bytes=80000-"]
        assert sum(request.sent for request in server.requests) == SIZE
        assert f"30000 of {SIZE} bytes" in messages[0]

    @pytest.mark.parametrize(("existing", "requested"), [(60_000, ["bytes=60000-"]), (SIZE, [])])
    def test_partial_file_of_an_earlier_run(self, server, url, part, existing, requested):
        part.write_bytes(CONTENT[:existing])
        fetch(url, part)
        assert part.read_bytes() == CONTENT
        assert ranges(server) == requested

    def test_server_without_range_support_starts_again(self, server, url, part):
        part.write_bytes(CONTENT[:60_000])
        server.faults[NAME] = [Fault(ignore_range=True)]
        counts, _ = fetch(url, part)
        assert part.read_bytes() == CONTENT
        assert sum(counts) == SIZE - 60_000  # the progress bar began with the partial file


PAGE = Fault(body=b"<html>" * 100, headers=(("Content-Type", "text/html; charset=utf-8"),), ignore_range=True)


@pytest.mark.parametrize(
    ("fault", "reason"), [(Fault(body=b"short", ignore_range=True), "5 bytes.* 100000"), (PAGE, "page")]
)
def test_other_content_is_refused_and_the_partial_file_kept(server, url, part, fault, reason):
    part.write_bytes(CONTENT[:60_000])
    server.faults[NAME] = [fault]
    with pytest.raises(DownloadError, match=reason):
        fetch(url, part)
    assert part.read_bytes() == CONTENT[:60_000]


class TestRetries:
    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_temporary_errors_are_retried_with_growing_pauses(self, server, url, part, pauses, status):
        server.faults[NAME] = [Fault(status=status)] * 7
        _, messages = fetch(url, part)
        assert pauses == [1, 2, 4, 8, 16, 32, 60]
        assert f" {status} " in messages[0]

    @pytest.mark.parametrize(("value", "seconds"), [("59", 59), ("99999", 3600), ("soon", 1)])
    def test_retry_after(self, server, url, part, pauses, value, seconds):
        server.faults[NAME] = [Fault(status=429, headers=(("Retry-After", value),))]
        fetch(url, part)
        assert pauses == [seconds]

    def test_number_of_tries_is_limited(self, server, url, part):
        server.faults[NAME] = [Fault(cut_after=1000)] * 9
        with pytest.raises(DownloadError, match=r"8000 of 100000 bytes .*8 tries"):
            fetch(url, part)
        assert len(server.requests) == 8
        assert part.read_bytes() == CONTENT[:8000]  # the next call resumes there

    def test_tries_with_progress_do_not_count(self, server, url, part, pauses, monkeypatch):
        monkeypatch.setattr(http, "REAL_PROGRESS", 5000)
        server.faults[NAME] = [Fault(cut_after=5000)] * 19
        fetch(url, part)
        assert part.read_bytes() == CONTENT
        assert max(pauses) == 1
        server.faults["record"] = [Fault(cut_after=10), Fault(status=502)]
        server.requests.clear()
        assert b'"files"' in http.read(server.url, print)  # a small response
        assert len(server.requests) == 3

    @pytest.mark.parametrize("status", [400, 403, 404])
    def test_permanent_errors_are_not_retried(self, server, url, part, status):
        server.faults[NAME] = [Fault(status=status)]
        with pytest.raises(DownloadError, match=rf"127\.0\.0\.1:\d+/.* {status} "):
            fetch(url, part)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "http://a b/", "http://[x/"])
    def test_invalid_urls(self, part, pauses, url):
        with pytest.raises(DownloadError, match="download"):
            fetch(url, part)
        assert pauses == []

    def test_silent_server(self, server, url, part, monkeypatch):
        release = threading.Event()
        server.faults[NAME] = [Fault(wait=release)]
        monkeypatch.setattr(http, "TIMEOUT", 0.2)
        _, messages = fetch(url, part)
        release.set()
        assert part.read_bytes() == CONTENT
        assert "timed out" in messages[0]
        assert server.requests[1].range.startswith("bytes=")

    @pytest.mark.parametrize(("response", "reason"), [(b"", "closed|reset"), (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH")])
    def test_server_that_is_not_http(self, part, response, reason):
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=lambda: [server.accept()[0].sendall(response) for _ in range(8)])
            thread.start()
            with pytest.raises(DownloadError, match=reason):
                fetch(f"http://127.0.0.1:{server.getsockname()[1]}/{NAME}", part)
            thread.join()
