"""State shared by all requests: the models, the decoders, and the number of requests in progress."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, TypeVar

from starlette.requests import Request

from crossmodal.apps.serve.batching import Batcher
from crossmodal.apps.serve.decoders import Decoders
from crossmodal.apps.serve.limits import Limits, busy
from crossmodal.apps.serve.uploads import Uploads
from crossmodal.inference.recognizer import EmotionRecognizer
from crossmodal.inference.recording import LONGEST

_SAMPLE_BYTES = 4
_RETRY_WAIT = 1.0  # s that a request waits for a free place before it is rejected

Result = TypeVar("Result")


class Service:
    """Recognition for many clients at the same time, with ``model`` and, if there is one, ``control``.

    Labels are computed in batches in one thread, timelines one at a time in a second, live sound in a third. A long
    recording does not delay a short one.
    """

    def __init__(self, models: dict[str, EmotionRecognizer], limits: Limits) -> None:
        self.models = models
        self.recognizer = models["model"]
        self.limits = limits
        self._decoders = Decoders(limits, self.recognizer.sample_rate)
        self._uploads = Uploads(limits)
        self._threads = {name: ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("label", "timeline", "live")}
        self._batchers = {
            name: Batcher(model.predict_batch, self._threads["label"], limits.batch_size)
            for name, model in models.items()
        }
        self._batching: list[asyncio.Task[None]] = []
        self._labels, self._timelines = (
            asyncio.Semaphore(self._capacity(seconds)) for seconds in (LONGEST, limits.seconds)
        )
        self._counts = {"requests": 0, "streams": 0}

    def _capacity(self, seconds: float) -> int:
        """Return how many decoded recordings of this length may wait for the model."""
        size = seconds * self.recognizer.sample_rate * _SAMPLE_BYTES
        return max(1, int(self.limits.held_bytes / size))

    @property
    def is_healthy(self) -> bool:
        """True if the server can answer requests."""
        return self._decoders.is_healthy and bool(self._batching) and not any(task.done() for task in self._batching)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the decoders and the batching for the duration of the block. No request may be in progress at its end."""
        await self._decoders.start()
        loop = asyncio.get_running_loop()
        self._batching = [loop.create_task(batcher.run()) for batcher in self._batchers.values()]
        try:
            yield
        finally:
            for task in self._batching:
                task.cancel()
            await self._decoders.stop()
            for thread in self._threads.values():
                thread.shutdown(cancel_futures=True)

    async def predict(self, request: Request, model: str) -> dict[str, Any]:
        """Return the emotion in an upload with warnings, or raise RequestError."""
        longest = min(LONGEST, self.limits.seconds)
        async with self.admit("requests"), self._uploads.read(request) as encoded, self._labels:
            waveform, notes = await self._decoders.decode(encoded, longest)
            prediction = await self._batchers[model].predict(waveform)
            return prediction.as_dict() | self._warn(model, notes)

    async def timeline(self, request: Request, model: str, window: float, hop: float) -> dict[str, Any]:
        """Return the emotions in an upload over time with warnings. Errors are those of `predict`."""
        async with self.admit("requests"), self._uploads.read(request) as encoded, self._timelines:
            waveform, notes = await self._decoders.decode(encoded, self.limits.seconds)
            compute = partial(self.models[model].timeline, waveform, window=window, hop=hop)
            timeline = await asyncio.get_running_loop().run_in_executor(self._threads["timeline"], compute)
            return timeline.as_dict() | self._warn(model, notes)

    def _warn(self, model: str, notes: list[str]) -> dict[str, str]:
        """Return what a client must know about the model and the recording, if anything."""
        about_model = self.models[model].warning
        sentences = [*([about_model] if about_model else []), *notes]
        return {"warning": " ".join(sentences)} if sentences else {}

    async def run_in_live_thread(self, compute: Callable[..., Result], *args: Any) -> Result:
        """Run a function for a live stream outside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads["live"], compute, *args)

    @contextlib.asynccontextmanager
    async def admit(self, kind: Literal["requests", "streams"]) -> AsyncIterator[None]:
        """Count a request or a live stream during the block, or raise RequestError if there are too many."""
        limit: int = getattr(self.limits, kind)
        if self._counts[kind] >= limit and kind == "requests":
            # A client that is rejected at once retries at once, and reading its upload slows down the others.
            await asyncio.sleep(_RETRY_WAIT)
        if self._counts[kind] >= limit:
            raise busy(f"{limit} {kind} are in progress")
        self._counts[kind] += 1
        try:
            yield
        finally:
            self._counts[kind] -= 1
