"""ASGI middleware: origin check, security headers, request log, and the response to internal errors."""

import logging
import secrets
import time
import traceback
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from crossmodal.apps.serve.limits import RequestError

LOG = logging.getLogger("crossmodal.serve")

# Only known paths and methods are logged.
_PATHS = {"/", "/docs", "/healthz", "/openapi.json", "/v1/model", "/v1/predict", "/v1/stream"}
_FOLDERS = ("/page/", "/static-offline-docs/")
_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "WEBSOCKET"}
_UNKNOWN = "(unknown)"
_CLIENT_DISCONNECTED = 499  # for the log only
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; media-src blob:; script-src 'self'{inline}; "
    "style-src 'self'{inline}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def error_response(error: RequestError) -> Response:
    """Return the HTTP response for an error."""
    headers = {503: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}
    return JSONResponse(error.as_dict(), error.status, headers.get(error.status))


class RequestMiddleware:
    """ASGI middleware around the whole application."""

    # A log line has nothing that a client sent, and no address; uvicorn's access log has the address and the query.

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        start, request_id, status = time.perf_counter(), secrets.token_hex(6), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                MutableHeaders(raw=message["headers"]).update(_security_headers(scope) | {"X-Request-ID": request_id})
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        app = error_response(_FOREIGN) if _is_cross_origin(Headers(scope=scope)) else self._app
        try:
            await app(scope, receive, send_with_headers)
        except (ClientDisconnect, WebSocketDisconnect):
            status = _CLIENT_DISCONNECTED
        except Exception as failure:
            LOG.error("%s failed: %s", request_id, _location(failure))
            if scope["type"] == "websocket":
                status = status or 500
                await send({"type": "websocket.close", "code": 1011})
            elif not status:
                error = RequestError(500, "internal_error", f"the server failed; see {request_id} in its log")
                await error_response(error)(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - start
            LOG.info("%s %s %d %.3f s", request_id, _method_and_path(scope), status, seconds)


_FOREIGN = RequestError(403, "foreign_origin", "pages of other sites must not use this server")


def _is_cross_origin(headers: Headers) -> bool:
    """Return True for a request from a page of another site: any site could use a server on 127.0.0.1 otherwise."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def _security_headers(scope: Scope) -> dict[str, str]:
    inline = " 'unsafe-inline'" if scope["path"] == "/docs" else ""  # FastAPI's page has inline scripts
    return {
        "Content-Security-Policy": _POLICY.format(inline=inline),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


def _method_and_path(scope: Scope) -> str:
    path, method = scope["path"], scope.get("method", "WEBSOCKET")
    if path not in _PATHS:
        path = next((folder for folder in _FOLDERS if path.startswith(folder)), _UNKNOWN)
    return f"{method if method in _METHODS else _UNKNOWN} {path}"


def _location(error: BaseException) -> str:
    """Return the type of an error and its line of code. Its message may contain parts of the request."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
    return f"{type(error).__name__} at {place}"
