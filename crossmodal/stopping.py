"""Handling of the signals that stop a command: SIGTERM, as from a scheduler, and SIGINT (Ctrl-C)."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], None]


class Terminated(SystemExit):
    """SIGTERM stopped the process; uncaught, it exits with status 143, the shell convention for SIGTERM."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def stop_now(number: int, frame: FrameType | None = None) -> None:
    """Raise Terminated on SIGTERM, and KeyboardInterrupt on SIGINT; after a first SIGTERM, further ones are ignored."""
    if _is_in_a_destructor(frame):  # Python drops its exceptions: send the signal again later
        again = threading.Timer(0.01, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    if number == signal.SIGTERM:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # let the cleanup after the first one finish
        raise Terminated
    raise KeyboardInterrupt


def _is_in_a_destructor(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def handle_stops(handler: Handler) -> dict[int, Any]:
    """Install a handler for both signals. An ignored SIGINT, as in a background job of a shell, stays ignored.

    Returns the previous handlers; none outside the main thread, where Python cannot install handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [signal.SIGTERM]  # always: the only way to stop a background job cleanly
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    return {number: signal.signal(number, handler) for number in numbers}


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Stop the block with an exception on either signal, and restore the previous handlers afterwards."""
    before = handle_stops(stop_now)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
