"""Resumable downloads over HTTP, with retries and a checksum.

The usual client libraries do not both resume and verify a transfer. urllib handles proxies, redirects and certificates.
"""

import contextlib
import hashlib
import http.client
import random
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from crossmodal.errors import ChecksumError, DownloadError
from crossmodal.version import __version__

TIMEOUT = 30.0  # seconds for connecting and for each read
TRIES = 8  # consecutive tries without real progress; with the pauses some two minutes
LONGEST_PAUSE, LONGEST_RETRY_AFTER = 60.0, 3600.0  # seconds
REAL_PROGRESS = 1 << 20  # bytes; a try with at least as many resets the count of failures

_TEMPORARY = {408, 425, 429}  # and all server errors, from 500 on
_PIECE = 1 << 18

T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """A remote file with its size in bytes and its md5. If one URL refuses, the next is used."""

    name: str
    size: int
    md5: str
    urls: tuple[str, ...]


class StoppedError(Exception):
    """`Downloader.stop` was called."""


class _TemporaryError(Exception):
    """A failure after which a retry may succeed, with the pause in seconds that the server requests."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Downloader:
    """Downloader of files, for use by several threads. `show` shows a message."""

    def __init__(self, show: Callable[[str], None], timeout: float = TIMEOUT) -> None:
        self._show = show
        self._timeout = timeout
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Stop all calls in all threads; they raise `StoppedError`."""
        self._stopped.set()

    def pause(self, seconds: float) -> None:
        """Sleep; raise `StoppedError` as soon as `stop` is called, or was called before."""
        if self._stopped.wait(seconds):
            raise StoppedError

    def read(self, url: str, tries: int = TRIES) -> bytes:
        """Read a small response; raise DownloadError if it fails."""

        def attempt() -> bytes:
            with self._open(url) as response, _network_errors(url):
                return response.read()

        return self._keep_trying(attempt, url, tries)

    def fetch(self, file: RemoteFile, target: Path, on_bytes: Callable[[int], None] = lambda count: None) -> None:
        """Download a file; it has the suffix ``.part`` until it is complete and verified.

        An existing partial file is resumed. A file with a wrong checksum is downloaded once more from the beginning;
        then ChecksumError is raised. `on_bytes` gets the number of new bytes, which is negative after a restart.
        """
        part = target.with_name(f"{target.name}.part")
        for _ in range(2):
            part.touch()
            self._keep_trying(lambda: self._resume(file, part, on_bytes), file.name, TRIES, part)
            if (md5 := self.md5(part)) == file.md5:
                part.replace(target)
                return
            on_bytes(-part.stat().st_size)
            part.unlink()
            self._show(f"{file.name}: its md5 is wrong; restarting the download")
        raise ChecksumError(
            f"{file.name} has md5 {md5} instead of {file.md5} twice in a row. It is damaged at its source or during "
            "the transfer, and was removed. Try again later, or from another network."
        )

    def md5(self, path: Path) -> str:
        """Return the md5 of a file."""
        digest = hashlib.md5(usedforsecurity=False)
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                self.pause(0)
                digest.update(piece)
        return digest.hexdigest()

    def _keep_trying(self, attempt: Callable[[], T], name: str, tries: int, part: Path | None = None) -> T:
        failures = size = 0
        while True:
            try:
                return attempt()
            except _TemporaryError as error:
                before, size = size, part.stat().st_size if part else 0
                failures = 1 if size - before >= REAL_PROGRESS else failures + 1
                if failures >= tries:
                    raise DownloadError(
                        f"Cannot download {name}: {error} (after {failures} tries). Rerun the same command to resume."
                    ) from error
                # The random factor keeps clients from retrying at the same time.
                seconds = max(error.retry_after, min(LONGEST_PAUSE, 2 ** (failures - 1)) * random.uniform(0.5, 1))
                self._show(f"{name}: {error}; retrying in {seconds:.0f} s")
            self.pause(seconds)

    def _resume(self, file: RemoteFile, part: Path, on_bytes: Callable[[int], None]) -> None:
        """Request the missing bytes."""
        size = part.stat().st_size
        if size >= file.size:
            return
        with self._open_any(file.urls, size) as response:
            if response.status != http.client.PARTIAL_CONTENT:  # no support for ranges: the file from its beginning
                on_bytes(-size)
                size = 0
            if response.length is not None and size + response.length != file.size:
                raise DownloadError(f"{response.url} has {size + response.length} bytes, but the record {file.size}.")
            with part.open("ab" if size else "wb", buffering=0) as output:  # unbuffered, to keep all received bytes
                for piece in self._pieces(response, file.size - size):
                    output.write(piece)
                    size += len(piece)
                    on_bytes(len(piece))
        if size < file.size:
            raise _TemporaryError(f"the connection was lost after {size} of {file.size} bytes")

    def _open_any(self, urls: tuple[str, ...], first_byte: int) -> http.client.HTTPResponse:
        """Request the first URL that does not refuse."""
        for url in urls[:-1]:
            with contextlib.suppress(DownloadError):
                return self._open(url, first_byte)
        return self._open(urls[-1], first_byte)

    def _open(self, url: str, first_byte: int = 0) -> http.client.HTTPResponse:
        self.pause(0)
        if not url.startswith(("http://", "https://")):  # urllib would also open local files
            raise DownloadError(f"Cannot download {url}: it is not an http:// or https:// URL.")
        headers = {"User-Agent": f"crossmodal/{__version__}", "Accept-Encoding": "identity"}
        if first_byte:
            headers["Range"] = f"bytes={first_byte}-"
        with _network_errors(url):
            response: http.client.HTTPResponse = urlopen(Request(url, headers=headers), timeout=self._timeout)
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(f"{response.url} responds with a web page, such as the login page of a network.")
        return response

    def _pieces(self, response: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
        """Yield the body in blocks, at most a number of bytes."""
        while most > 0:
            with _network_errors(response.url):
                piece = response.read1(min(_PIECE, most))
            self.pause(0)  # after a stop, another process may be using the folder
            if not piece:
                return
            most -= len(piece)
            yield piece


@contextlib.contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """Convert errors to DownloadError if a retry would fail as well, else to _TemporaryError."""
    try:
        yield
    except HTTPError as error:
        with error:
            message = f"{error.url} responds with {error.code} {error.reason}"
            if error.code not in _TEMPORARY and error.code < 500:
                raise DownloadError(f"{message}.") from error
            seconds = error.headers.get("Retry-After", "").strip()
            pause = min(LONGEST_RETRY_AFTER, float(seconds)) if seconds.isdecimal() else 0.0
            raise _TemporaryError(message, pause) from error
    except (http.client.InvalidURL, ValueError) as error:
        raise DownloadError(f"Cannot download {url}: {error}.") from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise DownloadError(f"The certificate of {url} is not trusted: {cause.verify_message}.") from error
        raise _TemporaryError(f"{url}: {cause or type(cause).__name__}") from error
