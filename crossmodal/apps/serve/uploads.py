"""Read uploads into memory, with limits on size and time that apply while reading."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from crossmodal.apps.serve.limits import MEGABYTE, Limits, RequestError, busy

_MAX_FIELDS = 8  # of a form, beside its file


class Uploads:
    """The uploads in memory.

    Args:
        limits: Limits on requests.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0  # bytes

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read an upload and count its bytes for the duration of the block.

        Yields:
            The content of the form's only file, or the body if it is not a form.

        Raises:
            RequestError: The upload is too large, too slow, empty, or not one file; or all uploads are too large.
        """
        upload = _Upload(self, self._limits)
        try:
            try:
                encoded = await asyncio.wait_for(upload.read(request), self._limits.read_seconds)
            except asyncio.TimeoutError as error:
                reason = f"the upload was not complete within {self._limits.read_seconds:g} seconds"
                raise RequestError(408, "upload_too_slow", reason) from error
            if not encoded:
                raise RequestError(422, "empty", "the upload is empty (0 bytes)")
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
            raise self._too_large()  # without reading it; a missing or false length is found while reading
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
                raise busy("the server's memory for uploads is full")
            yield chunk

    def _too_large(self) -> RequestError:
        limit = self._limits.upload_bytes / MEGABYTE
        return RequestError(413, "upload_too_large", f"an upload may have {limit:g} MB (of 1,000,000 bytes)")

    async def _read_form(self, request: Request) -> bytes:
        parser = MultiPartParser(request.headers, self._counted(request), max_files=1, max_fields=_MAX_FIELDS)
        parser.spool_max_size = self._limits.upload_bytes + 1  # never write a file to disk
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise RequestError(422, "bad_form", f"the form is invalid: {error.message}") from error
        except FormParserError as error:  # Starlette before 1.0 lets it through
            raise RequestError(422, "bad_form", "the form is invalid") from error
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if not files:
            raise RequestError(
                422, "no_file", "the form has no file: send it with a filename, as `curl -F file=@...` does"
            )
        try:
            return await files[0].read()
        finally:
            await form.close()
