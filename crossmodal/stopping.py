"""How a command is stopped: SIGTERM, as a scheduler sends it, and SIGINT, which is Ctrl-C."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], None]


class Terminated(SystemExit):
    """SIGTERM has stopped the process; where nobody catches it, it leaves with status 143, as shells count."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def stop_now(number: int, frame: FrameType | None = None) -> None:
    """Stop where the process is, as a handler of either signal; a second SIGTERM is not heard any more.

    Args:
        number: The signal's.
        frame: Where the process is. If that is a destructor, whose exceptions Python drops, the signal comes again.

    Raises:
        Terminated: SIGTERM.
        KeyboardInterrupt: SIGINT.
    """
    if _is_in_a_destructor(frame):
        again = threading.Timer(0.01, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    if number == signal.SIGTERM:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what the first one started is to come to its end
        raise Terminated
    raise KeyboardInterrupt


def _is_in_a_destructor(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def handle_stops(handler: Handler) -> dict[int, Any]:
    """Install a handler for both signals. SIGINT stays ignored if it is, as in a background job of a shell.

    Returns:
        The previous handlers; empty outside of the main thread, where Python cannot install any.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [signal.SIGTERM]  # always: it is the only way left to stop a background job cleanly
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    return {number: signal.signal(number, handler) for number in numbers}


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """While the block runs, both signals stop it with an exception; what was there before comes back after it."""
    before = handle_stops(stop_now)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
