"""Live sound over a WebSocket.

The client first says in JSON what it will send, then sends binary chunks of samples; each window is answered in JSON as
soon as it is complete. ``{"end": true}`` asks for what is left.
"""

import asyncio
import json
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from crossmodal.errors import CrossmodalError, MediaError
from crossmodal.inference.prediction import Window
from crossmodal.inference.serve.gate import Token, unauthorized
from crossmodal.inference.serve.limits import SAMPLE_RATES, RefusalError, check_windows
from crossmodal.inference.serve.service import Service

_CLOSE_CODES = {401: 1008, 408: 1008, 422: 1007, 503: 1013}  # of RFC 6455, by status of HTTP


class Hello(BaseModel):
    """The first message of a client.

    Args:
        sample_rate: Of the samples, in Hz.
        format: How a sample is written: 32-bit float in [-1, 1], or 16-bit integer; little-endian.
        channels: Interleaved.
        window: Seconds of each window.
        hop: Seconds from one window to the next.
        token: Where one is needed and no header can be sent, as in browsers.
    """

    model_config = ConfigDict(extra="forbid")

    sample_rate: int
    format: Literal["float32", "int16"]
    channels: int = 1
    window: float = 3.0
    hop: float = 0.5
    token: str = ""


class LiveStream:
    """One client that sends live sound.

    Args:
        websocket: Its connection, not accepted yet; `Gate` has looked at its header.
        service: What computes.
        token: What it must show.
    """

    def __init__(self, websocket: WebSocket, service: Service, token: Token) -> None:
        self._websocket = websocket
        self._service = service
        self._token = token
        self._rest = b""  # of a sample that came in half

    async def run(self) -> None:
        """Serve it to its end."""
        await self._websocket.accept()
        try:
            hello = await self._read_hello()
            with self._service.listening():
                await self._listen(hello)
            await self._websocket.close()
        except RefusalError as refusal:
            await self._websocket.send_json(refusal.as_dict())
            await self._websocket.close(_CLOSE_CODES[refusal.status], refusal.code)

    async def _read_hello(self) -> Hello:
        message = await self._receive()
        try:
            hello = Hello.model_validate_json(message if isinstance(message, str) else b"")
        except ValidationError as error:
            wrong = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, wrong["loc"])) or "message"
            raise RefusalError(
                422, "bad_hello", f"the first message must be JSON with sample_rate and format; {where}: {wrong['msg']}"
            ) from None
        if "authorization" not in self._websocket.headers and not self._token.allows(hello.token):
            raise unauthorized()
        low, high = SAMPLE_RATES
        if not low <= hello.sample_rate <= high:
            raise RefusalError(422, "bad_sample_rate", f"sample_rate must be {low} to {high} Hz")
        if not 1 <= hello.channels <= self._service.limits.channels:
            raise RefusalError(422, "too_many_channels", f"channels must be 1 to {self._service.limits.channels}")
        check_windows(hello.window, hello.hop)
        return hello

    async def _listen(self, hello: Hello) -> None:
        stream = self._service.recognizer.stream(hello.sample_rate, window=hello.window, hop=hello.hop)
        await self._websocket.send_json({"ready": True, "labels": list(self._service.recognizer.labels)})
        while isinstance(message := await self._receive(), bytes):
            await self._send(await self._compute(stream.feed, self._samples(message, hello)))
        if not _is_end(message):
            raise RefusalError(422, "bad_message", 'after the first message come binary chunks, and {"end": true}')
        await self._send(await self._compute(stream.finish))
        await self._websocket.send_json({"end": True, "duration": stream.duration})

    async def _receive(self) -> str | bytes:
        """The next message, text or binary."""
        limit = self._service.limits.idle_seconds
        try:
            message = await asyncio.wait_for(self._websocket.receive(), limit)
        except asyncio.TimeoutError as error:
            raise RefusalError(408, "idle", f"nothing came for {limit:g} seconds") from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        text: str | None = message.get("text")
        return bytes(message["bytes"]) if text is None else text

    def _samples(self, chunk: bytes, hello: Hello) -> NDArray[Any]:
        """Whole samples of all channels, (channels, n); what is left over waits for the next chunk."""
        chunk = self._rest + chunk
        width = np.dtype(hello.format).itemsize * hello.channels
        whole = len(chunk) // width * width
        self._rest = chunk[whole:]
        return np.frombuffer(chunk[:whole], np.dtype(hello.format).newbyteorder("<")).reshape(-1, hello.channels).T

    async def _compute(self, step: Any, *args: Any) -> list[Window]:
        try:
            windows: list[Window] = await self._service.in_live_thread(step, *args)
        except MediaError as error:
            raise RefusalError(422, "bad_samples", error.reason) from error
        except CrossmodalError as error:
            raise RefusalError(422, "bad_samples", str(error)) from error
        return windows

    async def _send(self, windows: list[Window]) -> None:
        for window in windows:
            await self._websocket.send_json(window.as_dict())


def _is_end(message: str | bytes) -> bool:
    try:
        return bool(json.loads(message) == {"end": True})
    except ValueError:
        return False
