"""Limits of the server, and the error for a request that exceeds them."""

from dataclasses import dataclass

from crossmodal.errors import ConfigError

MEGABYTE = 1_000_000  # bytes
SAMPLE_RATES = (4_000, 192_000)  # Hz
WINDOWS = (0.1, 30.0)  # s
MAX_OVERLAP = 10  # windows over one instant: each of them is computed


@dataclass(frozen=True)
class Limits:
    """Limits on requests, and the division of the work.

    Args:
        upload_bytes: Size of one upload, counted while it is read.
        held_bytes: Size of all uploads in memory, from the first byte to the response. Decoded sound for labels and
            decoded sound for timelines may each take the same again.
        seconds: Duration of a recording for a timeline, counted while it is decoded. A single label takes at most two
            minutes.
        channels: Channels of a recording.
        read_seconds: Time to receive an upload.
        decode_seconds: Time to decode an upload. The decoder is killed after that.
        requests: Uploads in progress at the same time.
        streams: Live streams open at the same time.
        idle_seconds: Time between two messages of a live stream.
        decoders: Decoder processes.
        batch_size: Recordings in a batch.
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
    decoders: int = 2
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"{name} must be above 0, not {value}")


@dataclass(eq=False)
class RequestError(Exception):
    """An error response. `code` is stable between versions; `reason` is for people and has nothing of the request."""

    status: int
    code: str
    reason: str

    def as_dict(self) -> dict[str, dict[str, str]]:
        """Return ``{"error": {"code": ..., "reason": ...}}``, for JSON."""
        return {"error": {"code": self.code, "reason": self.reason}}


def busy(reason: str) -> RequestError:
    """Return the error for a request that may be retried in a second."""
    return RequestError(503, "busy", f"{reason}; try again in a second")


def check_format(sample_rate: int, channels: int, max_channels: int) -> None:
    """Raise RequestError if a sound has an unsupported sample rate (in Hz) or too many channels."""
    low, high = SAMPLE_RATES
    if not 1 <= channels <= max_channels:
        raise RequestError(422, "too_many_channels", f"it has {channels} channels; 1 to {max_channels} are accepted")
    if not low <= sample_rate <= high:
        raise RequestError(422, "bad_sample_rate", f"its rate is {sample_rate} Hz; {low} to {high} Hz are accepted")


def check_windows(window: float, hop: float) -> None:
    """Raise RequestError if windows (in seconds) are too short or too long, or overlap too much."""
    low, high = WINDOWS
    if not low <= window <= high:
        raise RequestError(422, "bad_parameter", f"window must be {low:g} to {high:g} seconds, not {window:g}")
    if not max(low, window / MAX_OVERLAP) <= hop <= window:
        reason = f"hop must be at least {low:g} s and a tenth of window, and at most window ({window:g} s); not {hop:g}"
        raise RequestError(422, "bad_parameter", reason)
