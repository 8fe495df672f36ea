"""ASGI middleware: token, origin check, security headers, request log, and the response to internal errors."""

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

from crossmodal.apps.serve.limits import RequestError

LOG = logging.getLogger("crossmodal.serve")

# Public paths say nothing about the model. Only known paths and methods are logged.
_PUBLIC = frozenset({"/", "/docs", "/healthz", "/openapi.json"})
_PUBLIC_FOLDERS = ("/page/", "/static-offline-docs/")
_PATHS = _PUBLIC | {"/v1/model", "/v1/predict", "/v1/stream"}
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"})
_CLIENT_DISCONNECTED = 499  # for the log only
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; media-src blob:; script-src 'self'{inline}; "
    "style-src 'self'{inline}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Token:
    """The token that clients must send, if there is one.

    Args:
        value: None for a server without a token.
    """

    def __init__(self, value: str | None) -> None:
        self._value = None if value is None else value.encode()

    @property
    def is_required(self) -> bool:
        """True if clients must send a token."""
        return self._value is not None

    def allows(self, token: str) -> bool:
        """Return True if the token is right, or none is required. The comparison takes constant time."""
        return self._value is None or hmac.compare_digest(token.encode(errors="backslashreplace"), self._value)

    def allows_header(self, headers: Mapping[str, str]) -> bool:
        """Return True if ``Authorization: Bearer ...`` has the right token, or none is required."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return self.allows(token.strip()) and (not self.is_required or scheme.lower() == "bearer")


def unauthorized() -> RequestError:
    """Return the error for a missing or wrong token."""
    return RequestError(401, "unauthorized", "this server requires a token: send `Authorization: Bearer TOKEN`")


def error_response(error: RequestError) -> Response:
    """Return the HTTP response for an error."""
    headers = {503: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}
    return JSONResponse(error.as_dict(), error.status, headers.get(error.status))


class RequestMiddleware:
    """ASGI middleware around the whole application.

    A log line has the request's ID, method, path, status and duration. It has nothing that a client sent, and no
    address; uvicorn's own access log has both the client's address and the query.

    Args:
        app: The application.
        token: The token that clients must send.
    """

    def __init__(self, app: ASGIApp, token: Token) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        error = self._check(scope)
        try:
            await (error_response(error) if error else self._app)(scope, receive, exchange.send)
        except (ClientDisconnect, WebSocketDisconnect):
            exchange.status = _CLIENT_DISCONNECTED
        except Exception as failure:
            LOG.error("%s failed: %s", exchange.id, _location(failure))
            await exchange.fail(receive)
        finally:
            exchange.log()

    def _check(self, scope: Scope) -> RequestError | None:
        """Return the error for a request that must not reach the application."""
        headers = Headers(scope=scope)
        if _is_cross_origin(headers):
            return RequestError(403, "foreign_origin", "pages of other sites must not use this server")
        if scope["path"] in _PUBLIC or scope["path"].startswith(_PUBLIC_FOLDERS):
            return None
        token_follows = scope["type"] == "websocket" and "authorization" not in headers  # in the first message
        return None if token_follows or self._token.allows_header(headers) else unauthorized()


def _is_cross_origin(headers: Mapping[str, str]) -> bool:
    """Return True for a request from a page of another site: any site could use a server on 127.0.0.1 otherwise."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start = time.perf_counter()
        self.id = secrets.token_hex(6)
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            headers["X-Request-ID"] = self.id
            inline = " 'unsafe-inline'" if self._scope["path"] == "/docs" else ""  # FastAPI's page has inline scripts
            headers["Content-Security-Policy"] = _POLICY.format(inline=inline)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
        elif message["type"] == "websocket.accept":
            self.status = 101
        await self._send(message)

    async def fail(self, receive: Receive) -> None:
        """Answer with an internal error unless the response has started."""
        if self._scope["type"] == "http" and not self.status:
            error = RequestError(500, "internal_error", f"the server failed; see {self.id} in its log")
            await error_response(error)(self._scope, receive, self.send)
        elif self._scope["type"] == "websocket":
            self.status = self.status or 500
            await self._send({"type": "websocket.close", "code": 1011})

    def log(self) -> None:
        path = self._scope["path"]
        folder = next((folder for folder in _PUBLIC_FOLDERS if path.startswith(folder)), "(unknown)")
        path = path if path in _PATHS else folder
        method = self._scope.get("method", "WEBSOCKET")
        method = method if method in {*_METHODS, "WEBSOCKET"} else "(unknown)"
        seconds = time.perf_counter() - self._start
        LOG.info("%s %s %s %d %.3f s", self.id, method, path, self.status, seconds)


def _location(error: BaseException) -> str:
    """Return the type of an error and its line of code. Its message may contain parts of the request."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
    return f"{type(error).__name__} at {place}"
