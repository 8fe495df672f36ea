"""What a client may ask for, and the refusal where it asks for more."""

from dataclasses import dataclass
from typing import Any

from crossmodal.errors import ConfigError

MEGABYTE = 1_000_000  # bytes
SAMPLE_RATES = (4_000, 192_000)  # Hz, of what is accepted
WINDOWS = (0.1, 30.0)  # s
MOST_OVERLAP = 10  # windows that may hold one instant: each is computed


@dataclass(frozen=True)
class Limits:
    """How much of everything.

    Args:
        upload_bytes: Of one upload, counted while it is read.
        held_bytes: Of all uploads together, from the first byte until the answer; as much again may be decoded sound,
            and as much again that of timelines.
        seconds: Of the recording of a timeline, counted while it is decoded. One label takes up to two minutes.
        channels: Of a recording.
        read_seconds: Until an upload must be complete.
        decode_seconds: Until it must be decoded; then the decoder is killed.
        requests: Uploads under way at a time: read, decoded or computed.
        streams: Live streams open at a time.
        idle_seconds: Until the next chunk of a live stream.
    """

    upload_bytes: int = 32 * MEGABYTE
    held_bytes: int = 256 * MEGABYTE
    seconds: float = 300.0
    channels: int = 8
    read_seconds: float = 30.0
    decode_seconds: float = 10.0
    requests: int = 64
    streams: int = 16
    idle_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Raise ConfigError where nothing would be accepted."""
        require_positive(self)


class RefusalError(Exception):
    """An answer that is none: a status, a word for programs, a reason for people.

    Args:
        status: Of HTTP.
        code: One word, which does not change between versions.
        reason: A sentence. It holds nothing of what was sent.
    """

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(status, code, reason)
        self.status = status
        self.code = code
        self.reason = reason

    def as_dict(self) -> dict[str, dict[str, str]]:
        """``{"error": {"code": ..., "reason": ...}}``, for JSON."""
        return {"error": {"code": self.code, "reason": self.reason}}


def require_positive(settings: Any) -> None:
    """Raise ConfigError unless all numbers of a dataclass are above 0."""
    for name, value in vars(settings).items():
        if not value > 0:
            raise ConfigError(f"{name} must be above 0, not {value}")


def busy(reason: str) -> RefusalError:
    """The refusal of what may be asked again in a second."""
    return RefusalError(503, "busy", f"{reason}; try again in a second")


def check_windows(window: float, hop: float) -> None:
    """Raise RefusalError where windows are of no use, or overlap so much that they cost more than they tell.

    Args:
        window: Seconds of each.
        hop: Seconds from one to the next.
    """
    low, high = WINDOWS
    if not low <= window <= high:
        raise RefusalError(422, "bad_parameter", f"window must be {low:g} to {high:g} seconds, not {window:g}")
    if not max(low, window / MOST_OVERLAP) <= hop <= window:
        reason = (
            f"hop must be {low:g} s or more, a tenth of window or more, and at most window ({window:g} s); not {hop:g}"
        )
        raise RefusalError(422, "bad_parameter", reason)
