"""A decoder process of the server: ``python -m crossmodal.apps.serve.decoder_process SETTINGS``."""
# It reads a line of JSON, ``{"bytes": N, "longest": S}``, and N bytes. It writes a line of JSON, ``{"samples": T,
# "notes": [...]}``, and T float32 samples, or ``{"status": ..., "code": ..., "reason": ...}``. It exits at the end of
# its input.

import json
import os
import re
import signal
import sys
import warnings
from typing import Any, BinaryIO

# The decoders are imported here, so that the first upload does not wait for them.
import av  # noqa: F401
import numpy as np
import soundfile  # noqa: F401
import soxr  # noqa: F401
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.apps.serve.limits import RequestError, check_format
from crossmodal.apps.serve.sniff import sniff_audio
from crossmodal.errors import CrossmodalError, MediaError, TooLongError
from crossmodal.inference.recording import check_long_enough

MEMORY = 512 << 20  # bytes; a recording takes about 100 MB at most
_HEAD = 4096  # bytes
_OBJECT = re.compile(r"Error opening <.*?>: ")  # the address of an object helps only attackers


def main() -> None:
    """Decode uploads until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server stops this process after the last request
    settings = json.loads(sys.argv[1])
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # libraries must not print into the output
    _bound_resources()
    _write(sink, {"ready": True})
    while line := source.readline():
        request = json.loads(line)
        encoded = source.read(request["bytes"])
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                waveform = decode(encoded, request["longest"], settings["channels"], settings["sample_rate"])
        except RequestError as error:
            _write(sink, error.as_dict()["error"] | {"status": error.status})
        else:
            notes = [
                str(one.message).partition(": ")[2] for one in caught if one.category is UserWarning
            ]  # of our media
            _write(sink, {"samples": len(waveform), "notes": notes}, waveform.tobytes())


def decode(encoded: bytes, longest: float, max_channels: int, sample_rate: int) -> NDArray[np.float32]:
    """Decode at most `longest` seconds of a sound or video file to (T,) in [-1, 1], or raise RequestError."""
    if not sniff_audio(encoded[:_HEAD]):
        raise RequestError(415, "not_sound", "this is not a sound or video file of a known format")
    try:
        with media.open_sound(encoded) as sound:
            check_format(sound.sample_rate, sound.channels, max_channels)
            waveform = sound.read(sample_rate, longest=longest)
        check_long_enough(len(waveform) / sample_rate, sound.name)
    except TooLongError as error:
        reason = f"it lasts more than the {longest:g} seconds that are accepted"
        raise RequestError(413, "too_long", reason) from error
    except CrossmodalError as error:  # the path of a MediaError is not for clients
        reason = error.reason if isinstance(error, MediaError) else str(error)
        raise RequestError(422, "cannot_be_decoded", _OBJECT.sub("", reason)) from error
    except MemoryError as error:
        raise RequestError(422, "decoding_too_large", "decoding needs too much memory") from error
    return waveform


def _bound_resources() -> None:
    """Limit the memory, and forbid files and core dumps."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, limit in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        _, allowed = resource.getrlimit(kind)
        limit = limit if allowed == resource.RLIM_INFINITY else min(limit, allowed)
        resource.setrlimit(kind, (limit, limit))


def _write(sink: BinaryIO, message: dict[str, Any], sound: bytes = b"") -> None:
    sink.write(json.dumps(message).encode() + b"\n" + sound)
    sink.flush()


if __name__ == "__main__":
    main()
