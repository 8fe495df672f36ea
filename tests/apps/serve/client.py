"""A server in a thread, and functions that send requests to it."""

import contextlib
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import uvicorn

from crossmodal.apps.serve.server import bind, make_config

BOUNDARY = "----------a-boundary"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code; also checks the schema of the error."""
        assert self.headers["content-type"] == "application/json"
        ((key, error),) = self.json.items()
        assert key == "error"
        assert error.keys() == {"code", "reason"}
        assert len(error["reason"]) > 10
        return error["code"]


@contextlib.contextmanager
def serving(app) -> Iterator[int]:
    """Run an application and yield its port."""
    listening = bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = uvicorn.Server(make_config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "the server does not start"
            time.sleep(0.005)
        yield port
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server does not stop"


def ask(port: int, path: str, method: str = "GET", body=None, headers=None) -> Answer:
    """Send a request. An iterable body is sent in chunks, without its length."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def post(port: int, body, path: str = "/v1/predict", headers=None) -> Answer:
    return ask(port, path, "POST", body, headers)


def form(content: bytes, name: str = "clip.wav", more: bytes = b"") -> bytes:
    """A form with one file, as browsers and curl send it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return more + head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def field(name: str = "note", value: bytes = b"hello") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return head.encode() + value + b"\r\n"


def talk(port: int, sent: bytes, seconds: float = 10.0) -> bytes:
    """Send raw bytes, and return the response until it is complete or the server disconnects."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        with contextlib.suppress(ConnectionError):  # a server may hang up while it is sent to
            connection.sendall(sent)
        received = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while b"\r\n\r\n" not in received or not received.endswith(b"}"):
                part = connection.recv(65536)
                if not part:
                    break
                received += part
        return received


def voice(seconds: float = 0.5, rate: int = 16_000, pitch: float = 200.0, channels: int = 1) -> np.ndarray:
    """A tone with changes of loudness, (T, channels)."""
    time_axis = np.arange(round(seconds * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * pitch * time_axis) * (1 + 0.5 * np.sin(6 * time_axis))
    return np.repeat(sound[:, None], channels, axis=1)


def encoded(samples: np.ndarray, rate: int = 16_000, format: str = "WAV", subtype: str | None = "PCM_16") -> bytes:
    file, channels = io.BytesIO(), samples.shape[1] if samples.ndim == 2 else 1
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=format) as target:
        for first in range(0, len(samples), 1 << 16):  # libvorbis crashes on minutes at once
            target.write(samples[first : first + (1 << 16)])
    return file.getvalue()


def wav(seconds: float = 0.5, rate: int = 16_000, pitch: float = 200.0, channels: int = 1) -> bytes:
    return encoded(voice(seconds, rate, pitch, channels), rate)
