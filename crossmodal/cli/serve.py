"""`crossmodal serve` and `crossmodal demo`."""

import argparse
import os
import re
import sys
import threading
import webbrowser
from pathlib import Path
from typing import get_args

import numpy as np

from crossmodal.apps.serve.limits import MEGABYTE, Limits
from crossmodal.cli.help_texts import TRUST
from crossmodal.errors import ConfigError, MissingExtraError
from crossmodal.inference.recognizer import BackendChoice, EmotionRecognizer

TOKEN_VARIABLE = "CROSSMODAL_TOKEN"
_MAX_MEGABYTES = 100_000  # uploads are held in memory
_LOOPBACK = ("127.", "::1", "localhost")


def serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `serve`."""
    parser.description = (
        "Serve a model over HTTP and WebSocket: a demo page at /, the interactive description of the interface at "
        "/docs, POST /v1/predict (a file; ?timeline=true), GET /v1/model and /healthz, and live sound at /v1/stream. "
        "SIGTERM or Ctrl-C stops the server after the requests in progress. Needs the extra [serve]."
    )
    _server_arguments(parser, port=8000)


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `demo`."""
    parser.description = (
        "Open the demo page in the browser: upload or record a voice, and see its emotions over time, live and next to "
        "the control model. This is `crossmodal serve` with another port. Needs the extra [serve]."
    )
    _server_arguments(parser, port=7860)


def _server_arguments(parser: argparse.ArgumentParser, port: int) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model folder, such as runs/fit/model, or its name on the Hub")
    parser.add_argument("--control", metavar="MODEL", help="to compare with, such as runs/fit/control_model")
    host = "default: %(default)s, this machine only; 0.0.0.0: every machine"
    parser.add_argument("--host", default="127.0.0.1", help=host)
    parser.add_argument("--port", type=int, default=port, help="0: any free port; default: %(default)s")
    parser.add_argument("--backend", choices=get_args(BackendChoice), default="auto", help="default: %(default)s")
    parser.add_argument("--trust_own_code", action="store_true", help=TRUST)
    token = "a file with the token that clients must send; default: the variable CROSSMODAL_TOKEN, else no token"
    parser.add_argument("--token_file", metavar="FILE", help=token)
    numbers: dict[str, tuple[float, str]] = {
        "max_megabytes": (Limits.upload_bytes / MEGABYTE, "size of an upload"),
        "max_seconds": (Limits.seconds, "duration of a recording"),
        "max_channels": (Limits.channels, "channels of a recording"),
        "max_decode_seconds": (Limits.decode_seconds, "time to decode a recording"),
        "max_requests": (Limits.requests, "uploads in progress"),
        "max_streams": (Limits.streams, "live streams open"),
        "max_batch": (Limits.batch_size, "recordings in a batch"),
        "decoders": (Limits.decoders, "decoder processes"),
    }
    for name, (number, meaning) in numbers.items():
        text = f"{meaning}; default: {number:g}"
        parser.add_argument(f"--{name}", type=type(number), default=number, metavar="N", help=text)


def serve_command(args: argparse.Namespace) -> int:
    """Run `crossmodal serve`; the status is 0 after SIGTERM or Ctrl-C."""
    return _serve(args)


def demo_command(args: argparse.Namespace) -> int:
    """Run `crossmodal demo`: the same server, with its page opened in the browser."""
    return _serve(args, open_browser=True)


def _serve(args: argparse.Namespace, open_browser: bool = False) -> int:
    try:
        import python_multipart  # noqa: F401 (Starlette imports it when the first form arrives)
        import websockets  # noqa: F401 (uvicorn imports it when the first live stream arrives)

        from crossmodal.apps.serve.app import create_app
        from crossmodal.apps.serve.server import address_of, bind, run_server
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"The server needs {error.name}: pip install 'crossmodal[serve]'") from error
    token, limits = read_token(args.token_file), _make_limits(args)
    with bind(args.host, args.port) as listening:
        if token is None and not args.host.startswith(_LOOPBACK):
            print(f"crossmodal: anyone who can reach {args.host} can use the server; see --token_file", file=sys.stderr)
        model, control = (name and _load(name, args) for name in (args.model, args.control))
        if model.warning:
            print(f"crossmodal: {model.warning}", file=sys.stderr)
        app = create_app(model, control=control, token=token, limits=limits)
        address = address_of(listening)

        def announce() -> None:
            print(f"Serving {args.model} ({model.backend}) at {address} until Ctrl-C", flush=True)
            if open_browser:  # in a thread, because a browser in a terminal blocks
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        return run_server(app, listening, announce)


def _make_limits(args: argparse.Namespace) -> Limits:
    if not 0 < args.max_megabytes < _MAX_MEGABYTES:
        raise ConfigError(f"max_megabytes must be above 0, not {args.max_megabytes}, and below {_MAX_MEGABYTES:,}.")
    upload_bytes = round(args.max_megabytes * MEGABYTE)
    others = ("seconds", "channels", "decode_seconds", "requests", "streams")
    return Limits(
        upload_bytes=upload_bytes,
        held_bytes=max(Limits.held_bytes, 2 * upload_bytes),
        batch_size=args.max_batch,
        decoders=args.decoders,
        **{name: getattr(args, f"max_{name}") for name in others},
    )


def _load(name: str, args: argparse.Namespace) -> EmotionRecognizer:
    """Load a model and run it once on a second of noise, so that the first request is fast."""
    recognizer = EmotionRecognizer.from_pretrained(name, backend=args.backend, trust_own_code=args.trust_own_code)
    noise = np.random.default_rng(0).normal(0, 0.1, recognizer.sample_rate)
    recognizer.predict_batch([noise.astype(np.float32)])
    return recognizer


def read_token(file: str | None) -> str | None:
    """Read the token from a file or the environment; None if there is none. Raise ConfigError if it is invalid."""
    token, source = os.environ.get(TOKEN_VARIABLE), f"${TOKEN_VARIABLE}"
    if file is not None:
        source = file
        try:
            token = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The token cannot be read from {file}: {error}") from error
    if token is not None and not re.fullmatch("[!-~]+", token := token.strip()):
        raise ConfigError(f"The token in {source} must be one word of ASCII; unset it to serve without a token.")
    return token
