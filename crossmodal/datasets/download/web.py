"""One HTTP request, with its response classified as success, temporary failure or permanent failure."""

import http.client
import re
import ssl
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from crossmodal.version import __version__

LONGEST_RETRY_AFTER = 3600.0  # seconds; a longer requested pause counts as a permanent failure

_TEMPORARY = {408, 425, 429}  # and all server errors, from 500 on

Response = http.client.HTTPResponse


@dataclass(frozen=True)
class RemoteFile:
    """A remote file with its size and checksum.

    Args:
        name: Name of the file.
        size: Size in bytes.
        md5: Checksum, 32 hexadecimal digits.
        urls: URLs of the file; the next one is used if one refuses.
    """

    name: str
    size: int
    md5: str
    urls: tuple[str, ...]


class BrokenError(Exception):
    """A temporary failure; a retry may succeed.

    Args:
        reason: The message for the user.
        retry_after: Pause that the server requests, in seconds.
    """

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class RefusedError(Exception):
    """A permanent failure; a retry would fail as well."""


def open_url(url: str, first_byte: int, timeout: float) -> Response:
    """Request a file from a byte offset.

    Args:
        url: URL with http or https; urllib would also open local files.
        first_byte: Offset in bytes.
        timeout: Seconds for connecting and for each read.

    Raises:
        BrokenError: If a retry may succeed.
        RefusedError: If a retry would fail as well.
    """
    try:
        scheme, server = urlsplit(url)[:2]
    except ValueError as error:
        raise RefusedError(f"{url}: {error}") from error
    if scheme not in ("http", "https"):
        raise RefusedError(f"{url} is not an http:// or https:// URL")
    headers = {"User-Agent": f"crossmodal/{__version__}", "Accept-Encoding": "identity"}
    if first_byte:
        headers["Range"] = f"bytes={first_byte}-"
    try:
        response: Response = urlopen(Request(url, headers=headers), timeout=timeout)
        return response
    except HTTPError as error:
        with error:
            raise _classify(error, f"{server} responds with {error.code} {error.reason}".strip()) from error
    except (http.client.InvalidURL, ValueError) as error:
        raise RefusedError(f"{url}: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise RefusedError(f"the certificate of {server} is not trusted: {cause.verify_message}") from error
        raise BrokenError(f"{server}: {reason(error)}") from error


def _classify(error: HTTPError, message: str) -> BrokenError | RefusedError:
    if error.code not in _TEMPORARY and error.code < 500:
        return RefusedError(f"{message} ({error.url})")
    retry_after = _seconds(error.headers.get("Retry-After", ""))
    if retry_after > LONGEST_RETRY_AFTER:
        return RefusedError(f"{message} and asks to wait for {retry_after / 3600:.1f} hours")
    return BrokenError(message, retry_after)


def position_of(response: Response, file: RemoteFile, first_byte: int) -> int:
    """Return the offset of the body: the requested one, or 0 if the server does not support Range.

    Args:
        response: Response of the server.
        file: Requested file.
        first_byte: Requested offset in bytes.

    Raises:
        RefusedError: If the response is not the content of the file.
    """
    if response.headers.get_content_type() == "text/html":
        raise RefusedError(f"{response.url} responds with a web page instead of the file")
    etag = response.headers.get("ETag", "").removeprefix("W/").strip('"')
    if etag.startswith("md5:") and etag != f"md5:{file.md5}":  # Zenodo sends the checksum as ETag
        raise RefusedError(f"the file at {response.url} has {etag}, but the record has md5:{file.md5}")
    if response.status == http.client.PARTIAL_CONTENT:
        content_range = response.headers.get("Content-Range") or ""
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        if not match or int(match[1]) > first_byte:
            raise RefusedError(f"{response.url} sent {content_range!r} for a request from byte {first_byte}")
        position, size = int(match[1]), match[2]
    else:
        position, size = 0, response.headers.get("Content-Length") or "*"
    if size.isdecimal() and int(size) != file.size:
        raise RefusedError(f"the file at {response.url} has {size} bytes, but the record has {file.size}")
    return position


def reason(error: BaseException) -> str:
    """Return a short description of a network error."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return "timed out"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


def _seconds(retry_after: str) -> float:
    """Parse Retry-After, given in seconds or as a date."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())
