"""The HTTP server: uvicorn, with an announcement when it is ready and status 0 after a signal."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from crossmodal.apps.serve.limits import MEGABYTE
from crossmodal.apps.serve.middleware import LOG
from crossmodal.errors import ConfigError

_MESSAGE_BYTES = MEGABYTE  # of one message of a live stream: 16 s of float32 at 16 kHz
_MAX_QUEUE = 4  # messages of a live stream that wait
_STOP_SECONDS = 60  # for requests in progress
_FORCED_STATUS = 130  # after a second Ctrl-C, as in shells


class _AnnouncedServer(uvicorn.Server):
    """A uvicorn server that calls a function when it accepts connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def run_server(app: FastAPI, listening: socket.socket, on_ready: Callable[[], None]) -> int:
    """Serve on a bound socket until SIGTERM or Ctrl-C, and return the exit status; call `on_ready` when it is ready."""
    server = _AnnouncedServer(make_config(app), on_ready)
    _log_to_stderr()
    # Ignore the signal that stopped the server: uvicorn raises it again, and the status would not be 0.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return _FORCED_STATUS if server.force_exit else 0


def bind(host: str, port: int) -> socket.socket:
    """Bind an address before a model is loaded, or raise ConfigError; port 0 is any free port."""
    # uvicorn's own function exits the process on an error, and its sockets keep Nagle's algorithm on.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio turns Nagle off for TCP only
    try:
        if os.name == "posix":  # a stopped server can restart at once
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigError(f"{host} port {port} cannot be used ({error}): choose with --host and --port.") from error
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the URL of a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_config(app: FastAPI) -> uvicorn.Config:
    """Return uvicorn's configuration: no log but warnings, and no trust in proxy headers."""
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=_MESSAGE_BYTES,
        ws_max_queue=_MAX_QUEUE,
        ws_per_message_deflate=False,  # sound hardly shrinks
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _log_to_stderr() -> None:
    """Write the request log and uvicorn's warnings. Messages of other libraries may contain parts of a request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for logger in (LOG, logging.getLogger("uvicorn.error")):
        logger.handlers = [handler]
        logger.propagate = False
    LOG.setLevel(logging.INFO)
    logging.getLogger().addHandler(logging.NullHandler())
