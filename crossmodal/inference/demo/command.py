"""`crossmodal demo`: loads the models and serves the page until it is stopped."""

import argparse
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.inference.demo.app import create_app
from crossmodal.inference.demo.listening import Limits, Listener, check_pair
from crossmodal.inference.recognizer import EmotionRecognizer
from crossmodal.inference.serve.command import bind

if TYPE_CHECKING:
    from fastapi import FastAPI


def demo_command(args: argparse.Namespace) -> int:
    """`crossmodal demo`; the status is 0 when it was told to stop."""
    names = {"model": args.model} | ({"control": args.control} if args.control else {})
    with bind(args.host, args.port) as listening, tempfile.TemporaryDirectory(prefix="crossmodal-demo-") as folder:
        listeners = [
            Listener(role, short_name(name), EmotionRecognizer.from_pretrained(name, backend=args.backend))
            for role, name in names.items()
        ]
        check_pair(listeners)
        _serve(create_app(listeners, Path(folder), Limits(args.max_seconds, args.max_megabytes)), listening)
    return 0


def short_name(name: str) -> str:
    """What the page calls a model: where its folder lies on this machine is nobody else's business."""
    return "/".join(Path(name).parts[-2:])


def _serve(app: "FastAPI", listening: socket.socket) -> None:
    import uvicorn

    from crossmodal.inference.serve.server import AnnouncedServer, address_of, signals_that_only_uvicorn_hears

    # A browser keeps its connections open: what does not end in a second is cut.
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    server = AnnouncedServer(config, f"The page is at {address_of(listening)} until Ctrl-C")
    with signals_that_only_uvicorn_hears():
        server.run(sockets=[listening])
