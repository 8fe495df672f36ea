"""Download of a file over HTTP: resumable, with retries and exponential backoff, and atomic.

urllib handles proxies, redirects and certificates. A few large files do not need the connection pools of a client
library, and a library would not resume and verify them.
"""

import hashlib
import http.client
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from crossmodal.datasets.download.web import (
    BrokenError,
    RefusedError,
    RemoteFile,
    Response,
    open_url,
    position_of,
    reason,
)
from crossmodal.errors import ChecksumError, DownloadError

TIMEOUT = 30.0  # seconds for connecting and for each read
TRIES = 8  # consecutive tries without real progress; with the pauses some two minutes
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds
REAL_PROGRESS = 1 << 20  # bytes; a try with at least as many resets the count of failures
STALL_SECONDS, STALL_BYTES = 60.0, 60 << 10  # a transfer below 1 kB/s is stalled

_PIECE = 1 << 18
_LARGEST_ANSWER = 1 << 24

T = TypeVar("T")


class Watcher(Protocol):
    """Receiver of the progress of a file."""

    def set_position(self, position: int) -> None:
        """Set the number of bytes that have arrived."""

    def show(self, text: str) -> None:
        """Show a message."""


class StoppedError(Exception):
    """`Downloader.stop` was called."""


class Downloader:
    """Downloader of files, for use by several threads.

    If a server asks for a pause, all threads pause.

    Args:
        timeout: Seconds for connecting and for each read.
        tries: Maximum number of consecutive tries without real progress.
    """

    def __init__(self, timeout: float = TIMEOUT, tries: int = TRIES) -> None:
        self._timeout = timeout
        self._tries = tries
        self._stopped = threading.Event()
        self._quiet_until = 0.0

    def stop(self) -> None:
        """Stop all calls in all threads; they raise `StoppedError`."""
        self._stopped.set()

    def check_stopped(self) -> None:
        """Raise `StoppedError` after a call of `stop`."""
        if self._stopped.is_set():
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """Sleep until the time is over or `stop` is called."""
        if self._stopped.wait(seconds):
            raise StoppedError

    def read(self, url: str, watcher: Watcher) -> bytes:
        """Read a small response of at most 16 MiB.

        Raises:
            DownloadError: If the download fails.
        """

        def attempt() -> bytes:
            with self._open(url) as response:
                body = bytearray()
                for piece in self._pieces(response):
                    body += piece
                    if len(body) > _LARGEST_ANSWER:
                        raise RefusedError(f"it sends more than {_LARGEST_ANSWER} bytes")
                if response.length:
                    raise BrokenError(f"the connection was lost after {len(body)} bytes")
                return bytes(body)

        return self._keep_trying(attempt, lambda: 0, url, watcher)

    def fetch(self, file: RemoteFile, target: Path, watcher: Watcher) -> None:
        """Download a file; it has the suffix ``.part`` until it is complete and verified.

        An existing partial file is resumed. A file with a wrong checksum is downloaded once more from the beginning.

        Args:
            file: File to download.
            target: Path to write.
            watcher: Receiver of the progress.

        Raises:
            DownloadError: If the download fails.
            ChecksumError: If the checksum is wrong twice.
            OSError: If the file cannot be written.
        """
        path = target.with_name(f"{target.name}.part")
        for _ in range(2):
            md5 = self._fill(file, path, watcher)
            if md5 == file.md5:
                path.replace(target)
                return
            path.unlink()
            watcher.show("its md5 is wrong; restarting the download")
        raise ChecksumError(
            f"{file.name} has md5 {md5} instead of {file.md5} twice in a row. It is damaged at its source or during "
            "the transfer, and was removed. Try again later, or from another network."
        )

    def _fill(self, file: RemoteFile, path: Path, watcher: Watcher) -> str:
        """Download the rest of a partial file, and return its md5."""
        with _Part(path, file.size, self.check_stopped) as part:
            urls = list(file.urls)
            self._keep_trying(lambda: self._resume(file, urls, part, watcher), lambda: part.size, file.name, watcher)
            return part.md5()

    def _keep_trying(self, attempt: Callable[[], T], arrived: Callable[[], int], name: str, watcher: Watcher) -> T:
        failures = 0
        while True:
            before = arrived()
            try:
                return attempt()
            except RefusedError as error:
                raise DownloadError(f"Cannot download {name}: {error}.") from error
            except BrokenError as error:
                failures = 1 if arrived() - before >= REAL_PROGRESS else failures + 1
                if failures >= self._tries:
                    advice = " Rerun the same command to resume." if arrived() else ""
                    raise DownloadError(f"Cannot download {name}: {error} (after {failures} tries).{advice}") from error
                seconds = max(error.retry_after, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1)) * _jitter())
                watcher.show(f"{error}; retrying in {seconds:.0f} s")
            self.pause(seconds)

    def _resume(self, file: RemoteFile, urls: list[str], part: "_Part", watcher: Watcher) -> None:
        """Request the missing bytes; a URL that refuses is dropped if there is another.

        If-Range is not needed: the md5 detects a file that changed meanwhile.
        """
        watcher.set_position(part.size)
        if part.size == file.size:
            return
        try:
            with self._open(urls[0], part.size) as response:
                self._append(response, file, part, watcher)
        except RefusedError:
            if len(urls) == 1:
                raise
            urls.pop(0)
            return self._resume(file, urls, part, watcher)
        if part.size < file.size:
            raise BrokenError(f"the connection was lost after {part.size} of {file.size} bytes")

    def _append(self, response: Response, file: RemoteFile, part: "_Part", watcher: Watcher) -> None:
        position = position_of(response, file, part.size)
        for piece in self._pieces(response):
            # A server without Range support starts at 0: skip the bytes that exist.
            part.append(piece[max(0, part.size - position) :])
            position += len(piece)
            watcher.set_position(part.size)
            if part.size == file.size:
                return

    def _open(self, url: str, first_byte: int = 0) -> Response:
        if (seconds := self._quiet_until - time.monotonic()) > 0:
            self.pause(seconds)
        self.check_stopped()
        try:
            return open_url(url, first_byte, self._timeout)
        except BrokenError as error:
            self._quiet_until = max(self._quiet_until, time.monotonic() + error.retry_after)
            raise

    def _pieces(self, response: Response) -> Iterator[bytes]:
        """Yield the body in blocks."""
        since, arrived = time.monotonic(), 0
        while True:
            self.check_stopped()
            try:
                piece = response.read1(_PIECE)
            except (OSError, http.client.HTTPException) as error:
                raise BrokenError(reason(error)) from error
            self.check_stopped()  # after a stop, another process may be using the folder
            if not piece:
                return
            yield piece
            arrived += len(piece)
            if time.monotonic() - since > STALL_SECONDS:
                if arrived < STALL_BYTES:
                    raise BrokenError(f"only {arrived} bytes in {STALL_SECONDS:.0f} s")
                since, arrived = time.monotonic(), 0


class _Part:
    """A partial file on disk, with its checksum.

    Args:
        path: Path of the partial file.
        size: Size of the complete file in bytes; a longer partial file is discarded.
        check_stopped: Function that raises when the download is stopped, called between blocks.
    """

    def __init__(self, path: Path, size: int, check_stopped: Callable[[], None]) -> None:
        self.size = 0
        self._whole = size
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._file = path.open("a+b")
        if self._file.tell() > size:
            self._file.truncate(0)
        self._file.seek(0)
        while piece := self._file.read(1 << 20):
            check_stopped()
            self._count(piece)

    def append(self, piece: bytes) -> None:
        """Append a block; bytes beyond the size of the file are dropped."""
        piece = piece[: self._whole - self.size]
        self._file.write(piece)
        self._file.flush()  # an interrupted download keeps all received bytes
        self._count(piece)

    def md5(self) -> str:
        """Flush to disk and return the md5 of all bytes."""
        os.fsync(self._file.fileno())
        return self._md5.hexdigest()

    def _count(self, piece: bytes) -> None:
        self._md5.update(piece)
        self.size += len(piece)

    def __enter__(self) -> "_Part":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def _jitter() -> float:
    """Return a random factor for pauses, so that clients do not retry at the same time."""
    return random.uniform(0.5, 1.0)
