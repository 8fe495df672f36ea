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

LONGEST_WISH = 3600.0  # seconds; a server that wants a longer pause is left alone

_MAY_PASS = {408, 425, 429}  # and whatever a server says of itself, from 500 on

Response = http.client.HTTPResponse


@dataclass(frozen=True)
class RemoteFile:
    """A remote file with its size and checksum.

    Args:
        name: Its name.
        size: In bytes.
        md5: Its sum, 32 hexadecimal digits.
        urls: Where it is; one after the other is asked where one refuses.
    """

    name: str
    size: int
    md5: str
    urls: tuple[str, ...]


class BrokenError(Exception):
    """A temporary failure; a retry may succeed.

    Args:
        reason: In words for a person.
        wish: Seconds that the server asks to wait.
    """

    def __init__(self, reason: str, wish: float = 0.0) -> None:
        super().__init__(reason)
        self.wish = wish


class RefusedError(Exception):
    """A permanent failure; a retry would fail as well."""


def ask(url: str, first_byte: int, timeout: float) -> Response:
    """Request a file from a byte offset.

    Args:
        url: Of http or https; urllib would open files of this machine as well.
        first_byte: From 0.
        timeout: Seconds in which the server has to answer, and to go on answering.

    Raises:
        BrokenError: It may work the next time.
        RefusedError: It will not.
    """
    try:
        scheme, server = urlsplit(url)[:2]
    except ValueError as error:
        raise RefusedError(f"{url}: {error}") from error
    if scheme not in ("http", "https"):
        raise RefusedError(f"{url} is no address of the web (http:// or https://)")
    headers = {"User-Agent": f"crossmodal/{__version__}", "Accept-Encoding": "identity"}
    if first_byte:
        headers["Range"] = f"bytes={first_byte}-"
    try:
        response: Response = urlopen(Request(url, headers=headers), timeout=timeout)
        return response
    except HTTPError as error:
        with error:
            raise _judge(error, f"{server} answers {error.code} {error.reason}".strip()) from error
    except (http.client.InvalidURL, ValueError) as error:
        raise RefusedError(f"{url}: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise RefusedError(f"the certificate of {server} is not trusted here: {cause.verify_message}") from error
        raise BrokenError(f"{server}: {reason(error)}") from error


def _judge(error: HTTPError, said: str) -> BrokenError | RefusedError:
    if error.code not in _MAY_PASS and error.code < 500:
        return RefusedError(f"{said} ({error.url})")
    wish = _seconds(error.headers.get("Retry-After", ""))
    if wish > LONGEST_WISH:
        return RefusedError(f"{said} and asks to wait for {wish / 3600:.1f} hours")
    return BrokenError(said, wish)


def position_of(response: Response, file: RemoteFile, asked: int) -> int:
    """Return the offset of the body: the requested one, or 0 if the server does not support Range.

    Args:
        response: The answer.
        file: What was asked for.
        asked: The first byte that was asked for.

    Raises:
        RefusedError: It is not the body of such a file.
    """
    if response.headers.get_content_type() == "text/html":
        raise RefusedError(f"{response.url} answers with a page, not with the file")
    etag = response.headers.get("ETag", "").removeprefix("W/").strip('"')
    if etag.startswith("md5:") and etag != f"md5:{file.md5}":  # Zenodo's is the sum
        raise RefusedError(f"the file at {response.url} has {etag}, by the record it has md5:{file.md5}")
    if response.status == http.client.PARTIAL_CONTENT:
        said = response.headers.get("Content-Range") or ""
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", said)
        if not found or int(found[1]) > asked:
            raise RefusedError(f"asked for what follows byte {asked}, {response.url} sent {said!r}")
        position, whole = int(found[1]), found[2]
    else:
        position, whole = 0, response.headers.get("Content-Length") or "*"
    if whole.isdecimal() and int(whole) != file.size:
        raise RefusedError(f"the file at {response.url} has {whole} bytes, by the record it has {file.size}")
    return position


def reason(error: BaseException) -> str:
    """Return a short description of a network error."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return "no answer in time"
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
