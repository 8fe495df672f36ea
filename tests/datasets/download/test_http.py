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


class Told:
    """A watcher that remembers."""

    def __init__(self):
        self.positions, self.texts = [], []

    def at(self, position):
        self.positions.append(position)

    def says(self, text):
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
    """No test waits: how long it would have, instead."""
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
    told = Told()
    Downloader(**options).fetch(file, target, told)
    return told


def sent(server):
    return sum(asked.sent for asked in server.asked)


class TestComplete:
    def test_a_file_is_whole_and_its_part_is_gone(self, server, file, content, target, part):
        told = fetch(file, target)
        assert target.read_bytes() == content
        assert not part.exists()
        assert (told.positions[0], told.positions[-1]) == (0, SIZE)
        assert told.positions == sorted(told.positions)
        (asked,) = server.asked
        assert asked.range is None
        assert asked.agent.startswith("crossmodal/")

    def test_nothing_stands_under_its_name_before_it_is_whole(self, server, file, target, part):
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
    def test_it_goes_on_where_it_broke_off_and_fetches_no_byte_twice(self, server, file, content, target, pauses):
        server.faults[NAME] = [Fault(cut_after=30_000), Fault(cut_after=50_000)]
        told = fetch(file, target)
        assert target.read_bytes() == content
        assert [asked.range for asked in server.asked] == [None, "bytes=30000-", "bytes=80000-"]
        assert sent(server) == SIZE
        assert told.texts[0].startswith(f"it broke off after 30000 of {SIZE} bytes; again in ")

    def test_a_part_of_an_earlier_run_is_used(self, server, file, content, target, part):
        part.write_bytes(content[:60_000])
        fetch(file, target)
        assert target.read_bytes() == content
        assert [asked.range for asked in server.asked] == ["bytes=60000-"]
        assert sent(server) == 40_000

    def test_a_part_that_is_whole_needs_no_server(self, server, file, content, target, part):
        part.write_bytes(content)
        fetch(file, target)
        assert target.read_bytes() == content
        assert server.asked == []

    def test_a_part_that_is_longer_than_the_file_is_none(self, server, file, content, target, part):
        part.write_bytes(content + b"more")
        fetch(file, target)
        assert target.read_bytes() == content
        assert [asked.range for asked in server.asked] == [None]

    def test_a_damaged_part_is_noticed_and_all_fetched_anew(self, server, file, content, target, part):
        part.write_bytes(bytes(60_000))
        told = fetch(file, target)
        assert target.read_bytes() == content
        assert [asked.range for asked in server.asked] == ["bytes=60000-", None]
        assert "its md5 is wrong; from the beginning" in told.texts

    def test_a_server_that_ignores_range(self, server, file, content, target, part, pauses):
        """What is here is read over and stays: a server that breaks off earlier than before takes nothing away."""
        part.write_bytes(content[:60_000])
        server.faults[NAME] = [Fault(ignore_range=True, cut_after=40_000), Fault(ignore_range=True, cut_after=80_000)]
        told = fetch(file, target)
        assert target.read_bytes() == content
        assert [asked.range for asked in server.asked] == ["bytes=60000-", "bytes=60000-", "bytes=80000-"]
        assert min(told.positions) == 60_000

    @pytest.mark.parametrize(
        ("range_header", "reason"),
        [
            ("bytes 70000-99999/100000", "asked for what follows byte 60000"),
            ("bytes 60000-99998/99999", "has 99999 bytes, by the record it has 100000"),
            ("rubbish", "asked for what follows byte 60000"),
        ],
    )
    def test_a_range_that_is_another(self, server, file, content, target, part, range_header, reason):
        part.write_bytes(content[:60_000])
        server.faults[NAME] = [Fault(range_header=range_header)]
        with pytest.raises(DownloadError, match=reason):
            fetch(file, target)
        assert part.read_bytes() == content[:60_000]

    def test_a_range_that_begins_earlier_or_has_no_end(self, server, file, content, target, part):
        part.write_bytes(content[:60_000])
        server.faults[NAME] = [Fault(range_header="bytes 60000-99999/*")]
        fetch(file, target)
        assert target.read_bytes() == content


class TestChecksum:
    def test_a_wrong_sum_is_refused_and_fetched_again_once(self, server, file, content, target, part):
        server.faults[NAME] = [Fault(flip=50_000)]
        fetch(file, target)
        assert target.read_bytes() == content
        assert [asked.range for asked in server.asked] == [None, None]

    def test_twice_is_an_error_and_nothing_is_kept(self, server, file, target, part):
        server.faults[NAME] = [Fault(flip=50_000), Fault(flip=0)]
        with pytest.raises(ChecksumError, match=f"has md5 .* where the record says {file.md5}, twice in a row"):
            fetch(file, target)
        assert not target.exists()
        assert not part.exists()
        assert len(server.asked) == 2

    def test_a_server_whose_file_is_another_is_not_even_read(self, server, file, target):
        (server.folder / NAME).write_bytes(recording("other", SIZE))
        with pytest.raises(DownloadError, match=f"has md5:[0-9a-f]+, by the record it has md5:{file.md5}"):
            fetch(file, target)
        assert not target.exists()

    def test_a_file_of_another_length(self, server, file, target):
        server.faults[NAME] = [Fault(body=b"short")]
        with pytest.raises(DownloadError, match="has 5 bytes, by the record it has 100000"):
            fetch(file, target)

    def test_a_page_in_place_of_the_file(self, server, file, target):
        page = Fault(body=b"<html>" * 100, headers=(("Content-Type", "text/html; charset=utf-8"),))
        server.faults[NAME] = [page]
        with pytest.raises(DownloadError, match="answers with a page, not with the file"):
            fetch(file, target)


class TestPoliteness:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_what_may_pass_is_tried_again_with_growing_pauses(self, server, file, content, target, pauses, status):
        server.faults[NAME] = [Fault(status=status)] * 4
        told = fetch(file, target)
        assert target.read_bytes() == content
        assert len(server.asked) == 5
        for seconds, full in zip(pauses, (1, 2, 4, 8), strict=True):
            assert full / 2 <= seconds <= full
        assert f"answers {status} " in told.texts[0]

    def test_pauses_of_many_clients_differ(self, server, file, target, pauses):
        server.faults[NAME] = [Fault(status=503)] * 4
        fetch(file, target)
        first = list(pauses)
        target.unlink()
        server.faults[NAME] = [Fault(status=503)] * 4
        fetch(file, target)
        assert pauses[4:] != first

    @pytest.mark.parametrize("status", [429, 503])
    def test_the_server_says_how_long(self, server, file, target, pauses, status):
        server.faults[NAME] = [Fault(status=status, headers=(("Retry-After", "59"),))]
        told = fetch(file, target)
        assert pauses[0] == 59
        assert told.texts[0].endswith("again in 59 s")

    def test_or_until_when(self, server, file, target, pauses):
        date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=100), usegmt=True)
        server.faults[NAME] = [Fault(status=429, headers=(("Retry-After", date),))]
        fetch(file, target)
        assert 95 < pauses[0] <= 100

    @pytest.mark.parametrize("words", ["", "soon", "-5", "Wed, 21 Oct 2015 07:28:00"])
    def test_a_wish_that_is_none(self, server, file, target, pauses, words):
        server.faults[NAME] = [Fault(status=429, headers=(("Retry-After", words),))]
        fetch(file, target)
        assert pauses[0] <= 1

    def test_a_pause_of_hours_is_left_to_the_person(self, server, file, target, pauses):
        server.faults[NAME] = [Fault(status=429, headers=(("Retry-After", "7200"),))]
        with pytest.raises(DownloadError, match=r"answers 429 Too Many Requests and asks to wait for 2\.0 hours"):
            fetch(file, target)
        assert pauses == []

    def test_all_threads_make_the_pause(self, server, file, target, pauses):
        downloader = Downloader(tries=1)
        server.faults[NAME] = [Fault(status=429, headers=(("Retry-After", "30"),))]
        with pytest.raises(DownloadError):
            downloader.fetch(file, target, Told())
        assert pauses == []
        downloader.fetch(file, target, Told())
        assert 25 < pauses[0] <= 30

    def test_there_is_a_limit(self, server, file, content, target, part, pauses):
        server.faults[NAME] = [Fault(cut_after=1000)] * 9
        with pytest.raises(DownloadError, match="broke off after 8000 of 100000 bytes, in the last of 8 tries"):
            fetch(file, target)
        assert len(server.asked) == 8
        assert part.read_bytes() == content[:8000]  # and the next call goes on there

    def test_tries_that_bring_something_do_not_count(self, server, file, content, target, pauses, monkeypatch):
        monkeypatch.setattr(http, "REAL_PROGRESS", 5000)
        server.faults[NAME] = [Fault(cut_after=5000)] * 19
        fetch(file, target)
        assert target.read_bytes() == content
        assert max(pauses) <= 1

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
    def test_what_will_not_pass_is_not_asked_again(self, server, file, target, pauses, status):
        server.faults[NAME] = [Fault(status=status)]
        with pytest.raises(DownloadError, match=rf"cannot be had: 127\.0\.0\.1:\d+ answers {status} "):
            fetch(file, target)
        assert len(server.asked) == 1

    def test_but_another_address_is(self, server, file, content, target, part):
        part.write_bytes(content[:60_000])
        api = f"{server.base}/api/records/1188976/files/{NAME}/content"  # which knows no Range
        file = RemoteFile(NAME, SIZE, file.md5, (*file.urls, api))
        server.faults[NAME] = [Fault(status=404)]
        fetch(file, target)
        assert target.read_bytes() == content
        assert [asked.path.endswith("/content") for asked in server.asked] == [False, True]

    @pytest.mark.parametrize(
        "url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "nonsense", "http://a b/", "http://[x/"]
    )
    def test_only_the_web_is_asked(self, target, url):
        with pytest.raises(DownloadError, match="cannot be had"):
            fetch(RemoteFile(NAME, 3, "0" * 32, (url,)), target)


class TestServersThatFail:
    def test_one_that_dies_in_the_middle_and_comes_back(self, file, content, server, target, monkeypatch):
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
            told = fetch(file, target)
        assert target.read_bytes() == content
        assert [asked.range for asked in again[0].asked] == ["bytes=30000-"]
        assert [text for text in told.texts if "Connection refused" in text]

    def test_nobody_there(self, target, pauses):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/{NAME}"
            with pytest.raises(DownloadError, match=r"127\.0\.0\.1:\d+: Connection refused, in the last of 8 tries"):
                fetch(RemoteFile(NAME, 3, "0" * 32, (url,)), target)
        assert len(pauses) == 7
        assert max(pauses) <= 60

    def test_one_that_falls_silent(self, server, file, content, target, pauses):
        release = threading.Event()
        server.faults[NAME] = [Fault(wait=release)]
        told = fetch(file, target, timeout=0.2)
        release.set()
        assert target.read_bytes() == content
        assert told.texts[0].startswith("no answer in time; again in ")
        assert server.asked[1].range.startswith("bytes=")

    def test_one_that_says_nothing_at_all(self, target, pauses):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"http://127.0.0.1:{mute.getsockname()[1]}/{NAME}"
            with pytest.raises(DownloadError, match="no answer in time"):
                fetch(RemoteFile(NAME, 3, "0" * 32, (url,)), target, timeout=0.05, tries=2)

    def test_one_that_speaks_no_http(self, target, pauses):
        with socket.create_server(("127.0.0.1", 0)) as odd:
            thread = threading.Thread(target=lambda: odd.accept()[0].sendall(b"SSH-2.0-OpenSSH_9.6\r\n"))
            thread.start()
            url = f"http://127.0.0.1:{odd.getsockname()[1]}/{NAME}"
            with pytest.raises(DownloadError, match="SSH"):
                fetch(RemoteFile(NAME, 3, "0" * 32, (url,)), target, timeout=1, tries=1)
            thread.join()

    def test_one_that_trickles(self, monkeypatch):
        """A byte every ten seconds keeps a connection alive, and gets nowhere."""
        clock = iter(range(0, 10_000, 10))
        monkeypatch.setattr(http.time, "monotonic", lambda: next(clock))

        class Trickle:
            def read1(self, size):
                return b"x"

        with pytest.raises(BrokenError, match=r"only \d+ bytes in 60 s"):
            for _ in zip(Downloader()._pieces(Trickle()), range(100), strict=False):
                pass

    def test_a_certificate_that_is_not_trusted(self, monkeypatch, target, pauses):
        def refuse(request, timeout):
            error = ssl.SSLCertVerificationError("certificate verify failed")
            error.verify_message = "unable to get local issuer certificate"
            raise web.URLError(error)

        monkeypatch.setattr(web, "urlopen", refuse)
        with pytest.raises(DownloadError, match=r"zenodo\.example is not trusted here: unable to get local issuer"):
            fetch(RemoteFile(NAME, 3, "0" * 32, ("https://zenodo.example/a",)), target)
        assert pauses == []


class TestRead:
    def test_a_small_answer(self, server):
        assert b'"files"' in Downloader().read(server.url, Told())

    def test_one_that_breaks_off_is_asked_for_again(self, server, pauses):
        server.faults["record"] = [Fault(cut_after=10), Fault(status=502)]
        assert b'"files"' in Downloader().read(server.url, Told())
        assert len(server.asked) == 3

    def test_one_that_has_no_end(self, server, monkeypatch):
        monkeypatch.setattr(http, "_LARGEST_ANSWER", 100)
        with pytest.raises(DownloadError, match="sends more than 100 bytes"):
            Downloader().read(server.url, Told())


class TestStop:
    def test_what_has_come_is_written_at_once(self, part):
        """So that nothing is left to be written when someone stops."""
        with http._Part(part, 3, list) as opened:
            opened.append(b"ab")
            assert part.read_bytes() == b"ab"
            opened.append(b"cde")
            assert part.read_bytes() == b"abc"

    def test_a_pause_ends_at_once(self):
        downloader = Downloader()
        threading.Timer(0.05, downloader.stop).start()
        with pytest.raises(StoppedError):
            downloader.pause(600)

    def test_nothing_is_written_after_it(self, server, file, content, target, part):
        downloader, release = Downloader(), threading.Event()
        server.faults[NAME] = [Fault(wait=release)]
        ended = []

        def run():
            with pytest.raises(StoppedError):
                downloader.fetch(file, target, Told())
            ended.append(True)

        thread = threading.Thread(target=run)
        thread.start()
        while not (part.exists() and part.stat().st_size):
            assert thread.is_alive()
            time.sleep(0.002)
        time.sleep(0.05)  # it has written what came, and waits for more
        downloader.stop()
        here = part.read_bytes()
        release.set()
        thread.join()
        assert ended == [True]
        assert not target.exists()
        assert part.read_bytes() == here
        assert content.startswith(here)
