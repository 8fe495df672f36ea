"""A small Zenodo server on 127.0.0.1: a record's JSON, files with Range, and faults on demand."""

import hashlib
import json
import os
import re
import threading
import zipfile
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

RECORD = "/api/records/1188976"

os.environ.setdefault("no_proxy", "127.0.0.1")  # urllib would otherwise use the proxy of the environment


@dataclass
class Fault:
    status: int = 200
    headers: tuple = ()
    cut_after: int | None = None  # bytes of the body, then the connection is closed
    flip: int | None = None  # index of a changed byte of the body
    ignore_range: bool = False
    body: bytes | None = None  # replaces the file
    wait: threading.Event | None = None  # awaited after half of the body


@dataclass
class ReceivedRequest:
    """A received request, and the number of body bytes sent."""

    path: str
    range: str | None
    agent: str
    sent: int = 0


class ZenodoServer(ThreadingHTTPServer):
    """Server of the zips of a folder as files of the record."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.folder = Path(folder)
        self.faults = defaultdict(list)  # by file name, or "record"
        self.requests = []
        self.is_mirror = False  # a mirror's record has no links

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def url(self):
        return self.base + RECORD

    def requests_for(self, name):
        return [request for request in self.requests if name in request.path]

    def record(self):
        entries = [self._entry(path) for path in sorted(self.folder.glob("*.zip"))]
        links = {} if self.is_mirror else {"self_html": f"{self.base}/records/1188976"}
        return {"id": 1188976, "links": links, "files": entries}

    def _entry(self, path):
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        return {"key": path.name, "size": path.stat().st_size, "checksum": f"md5:{md5}"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ZenodoServer

    def log_message(self, *args):
        pass

    def do_GET(self):
        path, headers = unquote(urlsplit(self.path).path), self.headers
        request = ReceivedRequest(self.path, headers.get("Range"), headers.get("User-Agent"))
        self.server.requests.append(request)
        name = re.search(r"[^/]+\.zip", path)
        key = "record" if path == RECORD else name[0] if name else path
        faults = self.server.faults[key]
        fault = faults.pop(0) if faults else Fault()
        file = self.server.folder / key
        if key == "record":
            body = json.dumps(self.server.record()).encode()
        elif file.is_file():
            body = file.read_bytes()
        else:
            body, fault = b"not here", Fault(status=404)
        body = body if fault.body is None else fault.body
        supports_range = not (key == "record" or fault.ignore_range)
        try:
            self._answer(body, fault, request, supports_range)
        except OSError:
            self.close_connection = True  # the client closed the connection

    def _answer(self, body, fault, request, supports_range):
        start = re.fullmatch(r"bytes=(\d+)-", request.range or "") if supports_range else None
        status, headers = fault.status, dict(fault.headers)
        if status == 200 and start:
            status, first = 206, int(start[1])
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            body = body[first:]
        if fault.flip is not None:
            body = body[: fault.flip] + bytes([body[fault.flip] ^ 1]) + body[fault.flip + 1 :]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        self._send(body, fault, request)

    def _send(self, body, fault, request):
        end = len(body) if fault.cut_after is None else fault.cut_after
        step = 1 << 14
        waits_at = len(body) // 2
        for at in range(0, end, step):
            if fault.wait and at <= waits_at < at + step:
                self.wfile.flush()
                fault.wait.wait(30)
            piece = body[at : min(at + step, end)]
            self.wfile.write(piece)
            request.sent += len(piece)
        if end < len(body):
            self.close_connection = True


@contextmanager
def serving(folder, **options):
    """Run a server in a thread while the block runs."""
    with ZenodoServer(folder, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def recording(name, size=3000):
    """Return bytes that depend on the name and compress slightly, like sound."""
    rng = np.random.default_rng(list(name.encode()))
    return rng.integers(0, 64, size, np.uint8).tobytes()


def write_zip(path, names, size=3000):
    """Write an archive in RAVDESS's layout, and return its content by path."""
    content = {f"Actor_{name[-6:-4]}/{name}": recording(name, size) for name in names}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, piece in content.items():
            archive.writestr(member, piece)
    return content
