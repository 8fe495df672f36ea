"""The HTTP server: uvicorn, which says where it is, and stops when all that was under way is answered."""

import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from crossmodal.inference.serve.gate import LOG
from crossmodal.inference.serve.limits import MEGABYTE

_MESSAGE_BYTES = MEGABYTE  # of a live stream, one message; at 16 kHz that is 16 s of float32
_MOST_MESSAGES = 4  # of a live stream that wait
_STOP_SECONDS = 60  # for what is under way when it is told to stop
_FORCED_STATUS = 130  # stopped twice; as shells count SIGINT


class AnnouncedServer(uvicorn.Server):
    """A server that says when it can be asked.

    Args:
        config: Of uvicorn.
        announcement: A line, printed then.
    """

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        print(self._announcement, flush=True)


def run_server(app: FastAPI, listening: socket.socket, model: str) -> int:
    """Answer until SIGTERM or Ctrl-C.

    Args:
        app: What answers.
        listening: The address, bound.
        model: How the announcement calls the model.

    Returns:
        The exit status: 0, or 130 where Ctrl-C was pressed twice, and what was under way is lost.
    """
    server = AnnouncedServer(make_config(app), f"Serving {model} at {address_of(listening)} until Ctrl-C")
    _log_to_stderr()
    with signals_that_only_uvicorn_hears():
        server.run(sockets=[listening])
    return _FORCED_STATUS if server.force_exit else 0


def address_of(listening: socket.socket) -> str:
    """What a browser is told to open."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_config(app: FastAPI) -> uvicorn.Config:
    """How uvicorn runs the application: it writes no log of its own but warnings, and believes no proxy."""
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=_MESSAGE_BYTES,
        ws_max_queue=_MOST_MESSAGES,
        ws_per_message_deflate=False,  # sound hardly shrinks
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def _log_to_stderr() -> None:
    """Our lines and uvicorn's warnings, and nothing else: what other libraries complain of may be what was sent."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for logger in (LOG, logging.getLogger("uvicorn.error")):
        logger.handlers = [handler]
        logger.propagate = False
    LOG.setLevel(logging.INFO)
    logging.getLogger().addHandler(logging.NullHandler())


@contextlib.contextmanager
def signals_that_only_uvicorn_hears() -> Iterator[None]:
    """Uvicorn raises again, when it has stopped, the signal that stopped it; the process would die of it after all."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
