"""The child that decodes for the server: ``python -m crossmodal.inference.serve.decoder_process SETTINGS``.

It reads a line of JSON, ``{"bytes": N, "longest": S}``, and N bytes. It answers a line of JSON, ``{"samples": T}``, and
T float32 samples, or ``{"status": ..., "code": ..., "reason": ...}``. It ends when its input does, as the server does.
"""

import json
import os
import re
import signal
import sys
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from crossmodal import media
from crossmodal.errors import CrossmodalError, MediaError
from crossmodal.inference.recording import check_long_enough
from crossmodal.inference.serve.formats import begins_like_sound
from crossmodal.inference.serve.limits import SAMPLE_RATES, RefusalError

MEMORY = 512 << 20  # bytes that a decoder may have; a recording takes some 100 MB at the most
_HEAD = 4096  # bytes
_OBJECT = re.compile(r"Error opening <.*?>: ")  # an object and its address: of no use to a client, but to an attacker


def main() -> None:
    """Decode upload after upload until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server stops it, when what is under way is done
    settings = json.loads(sys.argv[1])
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what a library prints is no answer
    _warm_up()
    _bound_resources()
    _answer(sink, {"ready": True})
    while line := source.readline():
        question = json.loads(line)
        encoded = source.read(question["bytes"])
        try:
            waveform = decode(encoded, question["longest"], settings["channels"], settings["sample_rate"])
        except RefusalError as refusal:
            _answer(sink, refusal.as_dict()["error"] | {"status": refusal.status})
        else:
            _answer(sink, {"samples": len(waveform)}, waveform.tobytes())


def decode(encoded: bytes, longest: float, most_channels: int, sample_rate: int) -> NDArray[np.float32]:
    """Decode the content of a file.

    Args:
        encoded: A sound file, or a video with sound.
        longest: Seconds after which no more is decoded.
        most_channels: That it may have.
        sample_rate: Of the result, in Hz.

    Returns:
        (T,), one channel in [-1, 1].

    Raises:
        RefusalError: It is not sound, is damaged, or beyond a limit.
    """
    if not begins_like_sound(encoded[:_HEAD]):
        raise RefusalError(415, "not_sound", "this is not a sound file or a video that can be read")
    try:
        with media.open_sound(encoded) as sound:
            _check_header(sound, most_channels)
            waveform = _read(sound, longest, sample_rate)
        check_long_enough(len(waveform) / sample_rate, sound.name)
    except MediaError as error:
        raise RefusalError(422, "cannot_be_decoded", _OBJECT.sub("", error.reason)) from error
    except CrossmodalError as error:
        raise RefusalError(422, "cannot_be_decoded", str(error)) from error
    except MemoryError as error:
        raise RefusalError(422, "decoding_too_large", "decoding it takes more memory than is given") from error
    return waveform


def _check_header(sound: media.Sound, most_channels: int) -> None:
    low, high = SAMPLE_RATES
    if sound.channels > most_channels:
        raise RefusalError(
            422, "too_many_channels", f"it has {sound.channels} channels, and {most_channels} are accepted"
        )
    if not low <= sound.sample_rate <= high:
        raise RefusalError(
            422, "bad_sample_rate", f"its rate is {sound.sample_rate} Hz; {low} to {high} Hz are accepted"
        )


def _read(sound: media.Sound, longest: float, sample_rate: int) -> NDArray[np.float32]:
    """All of it at the model's rate; resampled block by block, which gives the same samples as the whole would."""
    import soxr

    resampler = soxr.ResampleStream(sound.sample_rate, sample_rate, 1, dtype="float32", quality="HQ")
    parts, samples = [], 0
    for block in sound.blocks():
        samples += len(block)
        if samples > longest * sound.sample_rate:
            raise RefusalError(413, "too_long", f"it lasts more than the {longest:g} seconds that are accepted")
        parts.append(resampler.resample_chunk(block))
    parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.clip(np.concatenate(parts), -1.0, 1.0)


def _warm_up() -> None:
    """Import what decodes now: the first upload should not wait for it."""
    import av  # noqa: F401
    import soundfile  # noqa: F401
    import soxr  # noqa: F401


def _bound_resources() -> None:
    """No more memory than it takes, no file on the disk, and no picture of the memory where it crashes."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    for kind, most in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        _, allowed = resource.getrlimit(kind)
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(kind, (most, most))


def _answer(sink: BinaryIO, answer: dict[str, Any], sound: bytes = b"") -> None:
    sink.write(json.dumps(answer).encode() + b"\n" + sound)
    sink.flush()


if __name__ == "__main__":
    main()
