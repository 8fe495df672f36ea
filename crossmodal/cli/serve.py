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


def serve_command(args: argparse.Namespace) -> int:
    """Run `crossmodal serve`; the status is 0 after SIGTERM or Ctrl-C.

    Raises:
        MissingExtraError: The extra `serve` is not installed.
        ConfigError: The token, the address or a limit is invalid, or the control does not match the model.
        ModelFolderError: There is no such model.
    """
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
    recognizer.hear([noise.astype(np.float32)])
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
