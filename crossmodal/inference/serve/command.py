"""`crossmodal serve`: load a model, and answer until told to stop."""

import argparse
import os
import re
import socket
import sys
from pathlib import Path

import numpy as np

from crossmodal.errors import ConfigError, MissingExtraError
from crossmodal.inference.recognizer import EmotionRecognizer
from crossmodal.inference.serve.limits import MEGABYTE, Limits

TOKEN_VARIABLE = "CROSSMODAL_TOKEN"
_MOST_MEGABYTES = 100_000  # it all lies in memory
_LOOPBACK = ("127.", "::1", "localhost")


def serve_command(args: argparse.Namespace) -> int:
    """`crossmodal serve`; the status is 0 when it was told to stop, and has answered what was under way.

    Raises:
        MissingExtraError: The extra `serve` is not installed.
        ConfigError: The token or the address cannot be used.
        ModelFolderError: There is no such model.
    """
    try:
        import python_multipart  # noqa: F401 (Starlette reads forms with it, and looks for it when one comes)
        import websockets  # noqa: F401 (so does uvicorn, for live streams)

        from crossmodal.inference.serve.app import create_app
        from crossmodal.inference.serve.server import run_server
        from crossmodal.inference.serve.service import Work
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"The server needs {error.name}: pip install 'crossmodal[serve]'") from error
    token, work = read_token(args.token_file), Work(args.decoders, args.max_batch)
    limits = limits_of(args)
    if token is None and not args.host.startswith(_LOOPBACK):
        print(
            f"crossmodal serve: whoever reaches {args.host} can use it; --token_file asks for a token", file=sys.stderr
        )
    with bind(args.host, args.port) as listening:
        recognizer = EmotionRecognizer.from_pretrained(args.model, backend=args.backend)
        warm_up(recognizer)
        app = create_app(recognizer, token=token, limits=limits, work=work)
        return run_server(app, listening, f"{args.model} ({recognizer.backend})")


def limits_of(args: argparse.Namespace) -> Limits:
    """What the command line allows.

    Raises:
        ConfigError: It allows nothing.
    """
    if not 0 < args.max_megabytes < _MOST_MEGABYTES:
        raise ConfigError(f"max_megabytes must be above 0, not {args.max_megabytes}, and below {_MOST_MEGABYTES:,}.")
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


def warm_up(recognizer: EmotionRecognizer) -> None:
    """Hear a second of noise: the first client should not wait for what is done once, nor meet damaged weights.

    Raises:
        ModelFolderError: The model answers with no numbers.
    """
    noise = np.random.default_rng(0).normal(0, 0.1, recognizer.sample_rate)
    recognizer.hear([noise.astype(np.float32)])


def read_token(file: str | None) -> str | None:
    """The token: in a file, or in the environment, where no list of processes shows it; None where there is none.

    Raises:
        ConfigError: The file cannot be read, or the token is empty.
    """
    if file is None:
        token, place = os.environ.get(TOKEN_VARIABLE), f"${TOKEN_VARIABLE}"
    else:
        place = file
        try:
            token = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The token cannot be read from {file}: {error}") from error
    if token is None:
        return None
    token = token.strip()
    if not re.fullmatch("[!-~]+", token):
        raise ConfigError(f"The token in {place} must be one word of ASCII; leave it out to serve everyone.")
    return token


def bind(host: str, port: int) -> socket.socket:
    """Take the address, before the model is loaded; port 0 is any that is free.

    Raises:
        ConfigError: It is taken, or is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else asyncio leaves Nagle's delays in
    try:
        if os.name == "posix":  # else a server cannot be started again for a minute after it stopped
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
    except (OSError, OverflowError) as error:
        taken.close()
        raise ConfigError(f"{host} port {port} cannot be used ({error}): choose with --host and --port.") from error
    return taken
