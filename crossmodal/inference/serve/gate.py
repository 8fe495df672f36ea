"""What every request passes: its number, the token, the log, and what is said where something goes wrong."""

import hmac
import logging
import secrets
import time
import traceback
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from crossmodal.inference.serve.limits import RefusalError

LOG = logging.getLogger("crossmodal.serve")

_OPEN = frozenset({"/", "/healthz", "/openapi.json"})  # without a token: they say nothing of the model
_PATHS = _OPEN | {"/v1/model", "/v1/predict", "/v1/stream"}  # what else is asked for is not written down
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"})
_HUNG_UP = 499  # in the log alone; there is no one to tell
_RETRY_AFTER = {"Retry-After": "1"}  # s


class Token:
    """The token that clients must show, if there is one.

    Args:
        value: None: everyone is welcome.
    """

    def __init__(self, value: str | None) -> None:
        self._value = None if value is None else value.encode()

    @property
    def is_needed(self) -> bool:
        """Whether there is one."""
        return self._value is not None

    def allows(self, shown: str) -> bool:
        """Whether this is it; how long that takes tells nothing of how much of it is right."""
        return self._value is None or hmac.compare_digest(shown.encode(errors="backslashreplace"), self._value)

    def allows_header(self, headers: Mapping[str, str]) -> bool:
        """Whether ``Authorization: Bearer ...`` shows it."""
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        return self.allows(shown.strip()) and (not self.is_needed or scheme.lower() == "bearer")


def refusal_response(refusal: RefusalError) -> Response:
    """The refusal as an answer over HTTP."""
    headers: dict[str, str] = {}
    if refusal.status == 503:
        headers = _RETRY_AFTER
    elif refusal.status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    return JSONResponse(refusal.as_dict(), refusal.status, headers)


class Gate:
    """ASGI middleware around the whole application.

    A line of the log says the request's number, what was asked for, the status and how long it took: never what was
    sent, what it was called, what was heard in it, or by whom.

    Args:
        app: What lies behind it.
        token: What clients must show.
    """

    def __init__(self, app: ASGIApp, token: Token) -> None:
        self._app = app
        self._token = token

    def _refusal(self, scope: Scope) -> RefusalError | None:
        """Why this request goes no further, if so; where a WebSocket shows no token, its first message has to."""
        headers = Headers(scope=scope)
        if _comes_from_elsewhere(headers):
            return RefusalError(403, "foreign_origin", "pages of other sites may not ask this server")
        says_it_later = scope["type"] == "websocket" and "authorization" not in headers
        if says_it_later or scope["path"] in _OPEN or self._token.allows_header(headers):
            return None
        return unauthorized()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        passage = _Passage(scope, send)
        refusal = self._refusal(scope)
        try:
            await (refusal_response(refusal) if refusal else self._app)(scope, receive, passage.send)
        except (ClientDisconnect, WebSocketDisconnect):
            passage.status = _HUNG_UP
        except Exception as error:
            LOG.error("%s failed: %s", passage.number, _where(error))
            await passage.fail(receive)
        finally:
            passage.log()


def _comes_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Whether a page of another site asks: a browser would let any page on the web ask a server on 127.0.0.1."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def unauthorized() -> RefusalError:
    """The refusal of who shows no token, or a wrong one."""
    return RefusalError(401, "unauthorized", "this server wants its token: send `Authorization: Bearer TOKEN`")


class _Passage:
    """One request on its way."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start = time.perf_counter()
        self.number = secrets.token_hex(6)
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            MutableHeaders(raw=message["headers"])["X-Request-ID"] = self.number
        elif message["type"] == "websocket.accept":
            self.status = 101
        await self._send(message)

    async def fail(self, receive: Receive) -> None:
        """Say that it is our fault, if nothing was said yet."""
        if self._scope["type"] == "http" and not self.status:
            refusal = RefusalError(500, "internal_error", f"the server failed; its log says more under {self.number}")
            await JSONResponse(refusal.as_dict(), refusal.status)(self._scope, receive, self.send)
        elif self._scope["type"] == "websocket":
            self.status = self.status or 500
            await self._send({"type": "websocket.close", "code": 1011})

    def log(self) -> None:
        path = self._scope["path"] if self._scope["path"] in _PATHS else "(unknown)"
        method = self._scope["method"] if self._scope["type"] == "http" else "WEBSOCKET"
        method = method if method in {*_METHODS, "WEBSOCKET"} else "(unknown)"
        seconds = time.perf_counter() - self._start
        LOG.info("%s %s %s %d %.3f s", self.number, method, path, self.status, seconds)


def _where(error: BaseException) -> str:
    """What kind of error it was and where: its text may hold what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "nowhere"
    return f"{type(error).__name__} at {place}"
