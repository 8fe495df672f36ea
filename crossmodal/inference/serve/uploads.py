"""Reading what a client sends: counted byte by byte, in memory alone, and no longer than it may take."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from crossmodal.inference.serve.limits import MEGABYTE, Limits, RefusalError, busy

_MOST_FIELDS = 8  # of a form, beside its file


class Uploads:
    """The uploads of all clients that are in memory.

    Args:
        limits: What is refused.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0  # bytes

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read one, and hold it as long as the block lasts.

        Yields:
            The content of the file: that of the form's only file, or else the body as it is.

        Raises:
            RefusalError: It is too large, too slow, empty, or not one file; or all uploads together are too large.
        """
        upload = _Upload(self, self._limits)
        try:
            try:
                encoded = await asyncio.wait_for(upload.read(request), self._limits.read_seconds)
            except asyncio.TimeoutError as error:
                reason = f"the upload was not complete within {self._limits.read_seconds:g} seconds"
                raise RefusalError(408, "upload_too_slow", reason) from error
            if not encoded:
                raise RefusalError(422, "empty", "the upload is empty (0 bytes)")
            yield encoded
        finally:
            self.held -= upload.bytes


class _Upload:
    def __init__(self, uploads: Uploads, limits: Limits) -> None:
        self._uploads = uploads
        self._limits = limits
        self.bytes = 0

    async def read(self, request: Request) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limits.upload_bytes:
            raise self._too_large()  # without reading it; what is not declared, or falsely, is found while reading
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            return await self._read_form(request)
        return b"".join([chunk async for chunk in self._counted(request)])

    async def _counted(self, request: Request) -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            self.bytes += len(chunk)
            self._uploads.held += len(chunk)
            if self.bytes > self._limits.upload_bytes:
                raise self._too_large()
            if self._uploads.held > self._limits.held_bytes:
                raise busy("the server holds as many bytes of uploads as it may")
            yield chunk

    def _too_large(self) -> RefusalError:
        limit = self._limits.upload_bytes / MEGABYTE
        return RefusalError(413, "upload_too_large", f"an upload may have {limit:g} MB (of 1,000,000 bytes)")

    async def _read_form(self, request: Request) -> bytes:
        parser = MultiPartParser(request.headers, self._counted(request), max_files=1, max_fields=_MOST_FIELDS)
        parser.spool_max_size = self._limits.upload_bytes + 1  # never a file on the disk
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise RefusalError(422, "bad_form", f"the form cannot be read: {error.message}") from error
        except FormParserError as error:  # as Starlette below 1.0 leaves it
            raise RefusalError(422, "bad_form", "the form cannot be read") from error
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if not files:
            raise RefusalError(
                422, "no_file", "the form holds no file: send it with a filename, as `curl -F file=@...` does"
            )
        try:
            return await files[0].read()
        finally:
            await form.close()
