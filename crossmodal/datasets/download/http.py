"""Resumable downloads over HTTP, with retries; urllib handles proxies, redirects and certificates."""

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from crossmodal.errors import DownloadError
from crossmodal.version import __version__

TIMEOUT = 30.0  # seconds for connecting and for each read
TRIES = 8  # consecutive tries without real progress; with the pauses some two minutes
LONGEST_PAUSE, LONGEST_RETRY_AFTER = 60.0, 3600.0  # seconds
REAL_PROGRESS = 1 << 20  # bytes; a try with at least as many resets the count of failures

_TEMPORARY = {408, 425, 429}  # and all server errors, from 500 on
_PIECE = 1 << 18

T = TypeVar("T")


class _TemporaryError(Exception):
    """A failure after which a retry may succeed, with the pause in seconds that the server requests."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def read(url: str, show: Callable[[str], None], tries: int = TRIES) -> bytes:
    """Read a small response; raise DownloadError if it fails. `show` shows a message."""

    def attempt() -> bytes:
        with _open(url) as response, _network_errors(url):
            return response.read()

    return _keep_trying(attempt, url, show, tries)


def fetch(
    url: str, part: Path, size: int, show: Callable[[str], None], on_bytes: Callable[[int], None] = lambda count: None
) -> None:
    """Download a file of a size in bytes, or the rest of it: received bytes are kept and never requested again.

    `on_bytes` gets the number of new bytes, which is negative if the server does not support ranges.
    """
    part.touch()
    _keep_trying(lambda: _resume(url, part, size, on_bytes), url, show, TRIES, part)


def _keep_trying(
    attempt: Callable[[], T], url: str, show: Callable[[str], None], tries: int, part: Path | None = None
) -> T:
    failures = size = 0
    while True:
        try:
            return attempt()
        except _TemporaryError as error:
            before, size = size, part.stat().st_size if part else 0
            failures = 1 if size - before >= REAL_PROGRESS else failures + 1
            if failures >= tries:
                raise DownloadError(
                    f"Cannot download {url}: {error} (after {failures} tries). Rerun the same command to resume."
                ) from error
            seconds = max(error.retry_after, min(LONGEST_PAUSE, 2 ** (failures - 1)))
            show(f"{error}; retrying in {seconds:.0f} s")
        time.sleep(seconds)


def _resume(url: str, part: Path, size: int, on_bytes: Callable[[int], None]) -> None:
    """Request the missing bytes."""
    received = part.stat().st_size
    if received >= size:
        return
    with _open(url, received) as response:
        if response.status != http.client.PARTIAL_CONTENT:  # no support for ranges: the file from its beginning
            on_bytes(-received)
            received = 0
        if response.length is not None and received + response.length != size:
            raise DownloadError(f"{response.url} has {received + response.length} bytes, but the record {size}.")
        with part.open("ab" if received else "wb", buffering=0) as output:  # unbuffered, to keep all received bytes
            while received < size:
                with _network_errors(response.url):
                    piece = response.read1(min(_PIECE, size - received))
                if not piece:
                    raise _TemporaryError(f"{url}: the connection was lost after {received} of {size} bytes")
                output.write(piece)
                received += len(piece)
                on_bytes(len(piece))


def _open(url: str, first_byte: int = 0) -> http.client.HTTPResponse:
    if not url.startswith(("http://", "https://")):  # urllib would also open local files
        raise DownloadError(f"Cannot download {url}: it is not an http:// or https:// URL.")
    headers = {"User-Agent": f"crossmodal/{__version__}", "Accept-Encoding": "identity"}
    if first_byte:
        headers["Range"] = f"bytes={first_byte}-"
    with _network_errors(url):
        response: http.client.HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    if response.headers.get_content_type() == "text/html":
        raise DownloadError(f"{response.url} responds with a web page, such as the login page of a network.")
    return response


@contextlib.contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """Convert errors to DownloadError if a retry would fail as well, else to _TemporaryError."""
    try:
        yield
    except HTTPError as error:
        message = f"{error.url} responds with {error.code} {error.reason}"
        if error.code not in _TEMPORARY and error.code < 500:
            raise DownloadError(f"{message}.") from error
        seconds = error.headers.get("Retry-After", "").strip()
        raise _TemporaryError(
            message, min(LONGEST_RETRY_AFTER, float(seconds)) if seconds.isdecimal() else 0.0
        ) from error
    except (http.client.InvalidURL, ValueError) as error:
        raise DownloadError(f"Cannot download {url}: {error}.") from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        raise _TemporaryError(f"{url}: {str(cause) or type(cause).__name__}") from error
