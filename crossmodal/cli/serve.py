"""`crossmodal serve` and `crossmodal demo`."""

import argparse
import os
import re
import sys
import threading
import webbrowser
from pathlib import Path

import numpy as np

from crossmodal.apps.serve.limits import MEGABYTE, Limits
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


def serve_command(args: argparse.Namespace) -> int:
    """Run `crossmodal serve`; the status is 0 after SIGTERM or Ctrl-C.

    Raises:
        MissingExtraError: The extra `serve` is not installed.
        ConfigError: The token, the address or a limit is invalid, or the control does not match the model.
        ModelFolderError: There is no such model.
    """
    return _serve(args)


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `demo`."""
    parser.description = (
        "Open the demo page in the browser: upload or record a voice, and see its emotions over time, live and next to "
        "the control model. This is `crossmodal serve` with another port. Needs the extra [serve]."
    )
    _server_arguments(parser, port=7860)


def demo_command(args: argparse.Namespace) -> int:
    """Run `crossmodal demo`: the same server, with its page opened in the browser."""
    return _serve(args, open_browser=True)


def _server_arguments(parser: argparse.ArgumentParser, port: int) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model folder, such as runs/fit/model, or its name on the Hub")
    parser.add_argument("--control", metavar="MODEL", help="to compare with, such as runs/fit/control_model")
    host = "default: %(default)s, this machine only; 0.0.0.0: every machine"
    parser.add_argument("--host", default="127.0.0.1", help=host)
    parser.add_argument("--port", type=int, default=port, help="0: any free port; default: %(default)s")
    backends = ("auto", "torch", "onnx", "int8")
    parser.add_argument("--backend", choices=backends, default="auto", help="default: %(default)s")
    token = "a file with the token that clients must send; default: the variable CROSSMODAL_TOKEN, else no token"
    parser.add_argument("--token_file", metavar="FILE", help=token)
    numbers: dict[str, tuple[float, str]] = {
        "max_megabytes": (32.0, "size of an upload"),
        "max_seconds": (300.0, "duration of a recording"),
        "max_channels": (8, "channels of a recording"),
        "max_decode_seconds": (10.0, "time to decode a recording"),
        "max_requests": (64, "uploads in progress"),
        "max_streams": (16, "live streams open"),
        "max_batch": (16, "recordings in a batch"),
        "decoders": (2, "decoder processes"),
    }
    for name, (number, meaning) in numbers.items():
        text = f"{meaning}; default: {number:g}"
        parser.add_argument(f"--{name}", type=type(number), default=number, metavar="N", help=text)


def _serve(args: argparse.Namespace, open_browser: bool = False) -> int:
    try:
        import python_multipart  # noqa: F401 (Starlette imports it when the first form arrives)
        import websockets  # noqa: F401 (uvicorn imports it when the first live stream arrives)

        from crossmodal.apps.serve.app import create_app
        from crossmodal.apps.serve.server import address_of, bind, run_server
        from crossmodal.apps.serve.service import Work
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"The server needs {error.name}: pip install 'crossmodal[serve]'") from error
    token, work, limits = read_token(args.token_file), Work(args.decoders, args.max_batch), make_limits(args)
    with bind(args.host, args.port) as listening:
        if token is None and not args.host.startswith(_LOOPBACK):
            print(f"crossmodal: anyone who can reach {args.host} can use the server; see --token_file", file=sys.stderr)
        model = load_model(args.model, args.backend)
        control = load_model(args.control, args.backend) if args.control else None
        app = create_app(model, control=control, token=token, limits=limits, work=work)
        address = address_of(listening)

        def announce() -> None:
            print(f"Serving {args.model} ({model.backend}) at {address} until Ctrl-C", flush=True)
            if open_browser:  # in a thread, because a browser in a terminal blocks
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        return run_server(app, listening, announce)


def make_limits(args: argparse.Namespace) -> Limits:
    """Return the limits given on the command line.

    Raises:
        ConfigError: A limit is not positive, or too large.
    """
    if not 0 < args.max_megabytes < _MAX_MEGABYTES:
        raise ConfigError(f"max_megabytes must be above 0, not {args.max_megabytes}, and below {_MAX_MEGABYTES:,}.")
    upload_bytes = round(args.max_megabytes * MEGABYTE)
    return Limits(
        upload_bytes=upload_bytes,
        held_bytes=max(Limits.held_bytes, 2 * upload_bytes),
        seconds=args.max_seconds,
        channels=args.max_channels,
        decode_seconds=args.max_decode_seconds,
        requests=args.max_requests,
        streams=args.max_streams,
    )


def load_model(name: str, backend: BackendChoice) -> EmotionRecognizer:
    """Load a model and run it once on a second of noise, so that the first request is fast.

    Raises:
        ModelFolderError: There is no such model, or its outputs are not finite.
    """
    recognizer = EmotionRecognizer.from_pretrained(name, backend=backend)
    noise = np.random.default_rng(0).normal(0, 0.1, recognizer.sample_rate)
    recognizer.predict_batch([noise.astype(np.float32)])
    return recognizer


def read_token(file: str | None) -> str | None:
    """Read the token from a file, or from the environment; None if there is no token.

    Raises:
        ConfigError: The file cannot be read, or the token is invalid.
    """
    if file is None:
        token, source = os.environ.get(TOKEN_VARIABLE), f"${TOKEN_VARIABLE}"
    else:
        source = file
        try:
            token = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The token cannot be read from {file}: {error}") from error
    if token is None:
        return None
    token = token.strip()
    if not re.fullmatch("[!-~]+", token):
        raise ConfigError(f"The token in {source} must be one word of ASCII; unset it to serve without a token.")
    return token
