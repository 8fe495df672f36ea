"""Read uploads into memory, with limits on size and time that apply while reading."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from crossmodal.apps.serve.limits import MEGABYTE, Limits, RequestError, busy

_MAX_FIELDS = 8  # of a form, beside its file


class Uploads:
    """The uploads in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0  # bytes

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read the form's only file, or else the body, and count its bytes in the block; may raise RequestError."""
        limits, size = self._limits, 0

        async def chunks() -> AsyncGenerator[bytes, None]:
            nonlocal size
            async for chunk in request.stream():
                size += len(chunk)
                self.held += len(chunk)
                if size > limits.upload_bytes:
                    raise _too_large(limits)
                if self.held > limits.held_bytes:
                    raise busy("the server's memory for uploads is full")
                yield chunk

        try:
            try:
                content = await asyncio.wait_for(_read(request, chunks(), limits), limits.read_seconds)
            except asyncio.TimeoutError as error:
                reason = f"the upload was not complete within {limits.read_seconds:g} seconds"
                raise RequestError(408, "upload_too_slow", reason) from error
            if not content:
                raise RequestError(422, "empty", "the upload is empty (0 bytes)")
            yield content
        finally:
            self.held -= size


async def _read(request: Request, chunks: AsyncGenerator[bytes, None], limits: Limits) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.upload_bytes:
        raise _too_large(limits)  # without reading it; a missing or false length is found while reading
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return b"".join([chunk async for chunk in chunks])
    parser = MultiPartParser(request.headers, chunks, max_files=1, max_fields=_MAX_FIELDS)
    parser.spool_max_size = limits.upload_bytes + 1  # never write a file to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(422, "bad_form", f"the form is invalid: {error.message}") from error
    try:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
    finally:
        await form.close()
    raise RequestError(422, "no_file", "the form has no file: send it with a filename, as `curl -F file=@...` does")


def _too_large(limits: Limits) -> RequestError:
    limit = limits.upload_bytes / MEGABYTE
    return RequestError(413, "upload_too_large", f"an upload may have {limit:g} MB (of 1,000,000 bytes)")
