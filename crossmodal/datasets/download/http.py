"""Download of a file over HTTP: resumable, with retries and exponential backoff, and atomic.

Python's own urllib does it, with the proxies, redirects and certificates of the system. What a client library adds,
such as pools of connections, a few large files do not need; resuming a broken body and checking it would stay to do.
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

from crossmodal.datasets.download.web import BrokenError, RefusedError, RemoteFile, Response, ask, position_of, reason
from crossmodal.errors import ChecksumError, DownloadError

TIMEOUT = 30.0  # seconds in which a server has to answer, and to go on answering
TRIES = 8  # in a row that bring next to nothing; with the pauses some two minutes
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds
REAL_PROGRESS = 1 << 20  # bytes; after a try that brought as many, counting starts anew
STALL_SECONDS, STALL_BYTES = 60.0, 60 << 10  # slower than 1 kB/s is no transfer

_PIECE = 1 << 18
_LARGEST_ANSWER = 1 << 24

T = TypeVar("T")


class Watcher(Protocol):
    """Receiver of the progress of a file."""

    def at(self, position: int) -> None:
        """Set the number of bytes that have arrived."""

    def says(self, text: str) -> None:
        """Show a message."""


class StoppedError(Exception):
    """`Downloader.stop` was called."""


class Downloader:
    """Downloader of files, for use by several threads, with limited load on the server.

    Where a server asks for a pause, all threads make it.

    Args:
        timeout: Seconds in which a server has to answer, and to go on answering.
        tries: How many in a row may bring next to nothing.
    """

    def __init__(self, timeout: float = TIMEOUT, tries: int = TRIES) -> None:
        self._timeout = timeout
        self._tries = tries
        self._stopped = threading.Event()
        self._quiet_until = 0.0

    def stop(self) -> None:
        """Stop all calls in all threads; they raise `StoppedError`."""
        self._stopped.set()

    def look_up(self) -> None:
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
            DownloadError: It cannot be had.
        """

        def attempt() -> bytes:
            with self._open(url) as response:
                body = bytearray()
                for piece in self._pieces(response):
                    body += piece
                    if len(body) > _LARGEST_ANSWER:
                        raise RefusedError(f"it sends more than {_LARGEST_ANSWER} bytes")
                if response.length:
                    raise BrokenError(f"it broke off after {len(body)} bytes")
                return bytes(body)

        return self._keep_trying(attempt, lambda: 0, url, watcher)

    def fetch(self, file: RemoteFile, target: Path, watcher: Watcher) -> None:
        """Fetch a file; it has the suffix ``.part`` until it is complete and its checksum is verified.

        Where there is such a part, of this run or an earlier one, only the rest is asked for. A file with a wrong sum
        is fetched once more, from its beginning.

        Args:
            file: Which.
            target: The path to write.
            watcher: Is told how far it is.

        Raises:
            DownloadError: It cannot be had.
            ChecksumError: It has a wrong sum, twice.
            OSError: It cannot be written.
        """
        path = target.with_name(f"{target.name}.part")
        for _ in range(2):
            md5 = self._fill(file, path, watcher)
            if md5 == file.md5:
                path.replace(target)
                return
            path.unlink()
            watcher.says("its md5 is wrong; from the beginning")
        raise ChecksumError(
            f"{file.name} has md5 {md5} where the record says {file.md5}, twice in a row: it is damaged on the way or "
            "at its source. It was not kept. Try again later, or from another network."
        )

    def _fill(self, file: RemoteFile, path: Path, watcher: Watcher) -> str:
        """Download the rest of a partial file, and return its md5."""
        with _Part(path, file.size, self.look_up) as part:
            urls = list(file.urls)
            self._keep_trying(lambda: self._go_on(file, urls, part, watcher), lambda: part.size, file.name, watcher)
            return part.md5()

    def _keep_trying(self, attempt: Callable[[], T], arrived: Callable[[], int], what: str, watcher: Watcher) -> T:
        failures = 0
        while True:
            before = arrived()
            try:
                return attempt()
            except RefusedError as error:
                raise DownloadError(f"{what} cannot be had: {error}.") from error
            except BrokenError as error:
                failures = 1 if arrived() - before >= REAL_PROGRESS else failures + 1
                if failures >= self._tries:
                    rest = " What has arrived stays; the same command goes on where it was." if arrived() else ""
                    raise DownloadError(
                        f"{what} cannot be had: {error}, in the last of {failures} tries.{rest}"
                    ) from error
                seconds = max(error.wish, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1)) * _jitter())
                watcher.says(f"{error}; again in {seconds:.0f} s")
            self.pause(seconds)

    def _go_on(self, file: RemoteFile, urls: list[str], part: "_Part", watcher: Watcher) -> None:
        """Request the missing bytes; a refusing address is dropped if there is another.

        No If-Range: a file that changed meanwhile is not the one of this md5, whichever of its bytes are sent.
        """
        watcher.at(part.size)
        if part.size == file.size:
            return
        try:
            with self._open(urls[0], part.size) as response:
                self._append(response, file, part, watcher)
        except RefusedError:
            if len(urls) == 1:
                raise
            urls.pop(0)
            return self._go_on(file, urls, part, watcher)
        if part.size < file.size:
            raise BrokenError(f"it broke off after {part.size} of {file.size} bytes")

    def _append(self, response: Response, file: RemoteFile, part: "_Part", watcher: Watcher) -> None:
        position = position_of(response, file, part.size)
        for piece in self._pieces(response):
            # A server that knows no Range starts at 0: what is here already is read over.
            part.append(piece[max(0, part.size - position) :])
            position += len(piece)
            watcher.at(part.size)
            if part.size == file.size:
                return

    def _open(self, url: str, first_byte: int = 0) -> Response:
        if (seconds := self._quiet_until - time.monotonic()) > 0:
            self.pause(seconds)
        self.look_up()
        try:
            return ask(url, first_byte, self._timeout)
        except BrokenError as error:
            self._quiet_until = max(self._quiet_until, time.monotonic() + error.wish)
            raise

    def _pieces(self, response: Response) -> Iterator[bytes]:
        """Yield the body in blocks."""
        since, arrived = time.monotonic(), 0
        while True:
            self.look_up()
            try:
                piece = response.read1(_PIECE)
            except (OSError, http.client.HTTPException) as error:
                raise BrokenError(reason(error)) from error
            self.look_up()  # whoever stopped meanwhile may have given the folder to somebody else
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
        path: The file; its content is taken for the beginning.
        size: Of the whole file, in bytes; a longer part is none.
        look_up: Is called now and then.
    """

    def __init__(self, path: Path, size: int, look_up: Callable[[], None]) -> None:
        self.size = 0
        self._whole = size
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._file = path.open("a+b")
        if self._file.tell() > size:
            self._file.truncate(0)
        self._file.seek(0)
        while piece := self._file.read(1 << 20):
            look_up()
            self._count(piece)

    def append(self, piece: bytes) -> None:
        """Append a block; bytes beyond the size of the file are dropped."""
        piece = piece[: self._whole - self.size]
        self._file.write(piece)
        self._file.flush()  # nothing is left to be written when someone stops
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
