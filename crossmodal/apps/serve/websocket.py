"""Live sound over a WebSocket; `crossmodal.apps.serve.app` describes its messages."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from crossmodal.apps.serve.authentication import Token
from crossmodal.apps.serve.limits import RequestError, check_format, check_windows
from crossmodal.apps.serve.service import Service
from crossmodal.errors import CrossmodalError, MediaError
from crossmodal.inference.prediction import Window
from crossmodal.inference.recognizer import HOP, WINDOW

_CLOSE_CODES = {401: 1008, 408: 1008, 422: 1007, 503: 1013}  # of RFC 6455, by status of HTTP


class Hello(BaseModel):
    """The first message of a client."""

    model_config = ConfigDict(extra="forbid")

    sample_rate: int  # Hz
    format: Literal["float32", "int16"]  # in [-1, 1], or of full scale; little-endian
    channels: int = 1  # interleaved
    window: float = WINDOW  # s
    hop: float = HOP  # s
    token: str = ""  # for clients that cannot send a header, such as browsers


class LiveStream:
    """The connection of one client that sends live sound, and the token in a header or its first message."""

    def __init__(self, websocket: WebSocket, service: Service, token: Token | None) -> None:
        self._websocket = websocket
        self._service = service
        self._token = token
        self._rest = b""  # the first bytes of an incomplete sample

    async def run(self) -> None:
        """Serve the client until the stream ends; raise RequestError before the connection if the header is wrong."""
        if self._token and "authorization" in self._websocket.headers:
            await self._token(self._websocket)
        await self._websocket.accept()
        try:
            hello = await self._read_hello()
            async with self._service.admit("streams"):
                await self._predict(hello)
            await self._websocket.close()
        except RequestError as error:
            await self._websocket.send_json(error.as_dict())
            await self._websocket.close(_CLOSE_CODES[error.status], error.code)

    async def _read_hello(self) -> Hello:
        message = await self._receive()
        try:
            hello = Hello.model_validate_json(message if isinstance(message, str) else b"")
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or "message"
            raise RequestError(
                422, "bad_hello", f"the first message must be JSON with sample_rate and format; {field}: {first['msg']}"
            ) from None
        if self._token and "authorization" not in self._websocket.headers:
            self._token.check(hello.token)
        check_format(hello.sample_rate, hello.channels, self._service.limits.channels)
        check_windows(hello.window, hello.hop)
        return hello

    async def _predict(self, hello: Hello) -> None:
        stream = self._service.recognizer.stream(hello.sample_rate, window=hello.window, hop=hello.hop)
        recognizer = self._service.recognizer
        warning = {"warning": recognizer.warning} if recognizer.warning else {}
        await self._websocket.send_json({"ready": True, "labels": list(recognizer.labels)} | warning)
        while isinstance(message := await self._receive(), bytes):
            await self._send_windows(stream.feed, self._samples(message, hello))
        if not _is_end(message):
            raise RequestError(422, "bad_message", 'send binary messages after the first one, and {"end": true} last')
        await self._send_windows(stream.finish)
        await self._websocket.send_json({"end": True, "duration": stream.duration})

    async def _receive(self) -> str | bytes:
        """Return the next message, text or binary."""
        limit = self._service.limits.idle_seconds
        try:
            message = await asyncio.wait_for(self._websocket.receive(), limit)
        except asyncio.TimeoutError as error:
            raise RequestError(408, "idle", f"no message arrived for {limit:g} seconds") from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        text: str | None = message.get("text")
        return bytes(message["bytes"]) if text is None else text

    def _samples(self, chunk: bytes, hello: Hello) -> NDArray[Any]:
        """Return the complete samples of all channels, (channels, n); the next chunk completes the rest."""
        chunk = self._rest + chunk
        width = np.dtype(hello.format).itemsize * hello.channels
        whole = len(chunk) // width * width
        self._rest = chunk[whole:]
        return np.frombuffer(chunk[:whole], np.dtype(hello.format).newbyteorder("<")).reshape(-1, hello.channels).T

    async def _send_windows(self, step: Callable[..., list[Window]], *args: Any) -> None:
        try:
            windows = await self._service.run_in_live_thread(step, *args)
        except CrossmodalError as error:
            reason = error.reason if isinstance(error, MediaError) else str(error)
            raise RequestError(422, "bad_samples", reason) from error
        for window in windows:
            await self._websocket.send_json(window.as_dict())


def _is_end(message: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(json.loads(message) == {"end": True})
    return False
