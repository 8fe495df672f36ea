"""What all requests share: the model, the decoders, and how many may come at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request

from crossmodal.inference.prediction import Prediction, Timeline
from crossmodal.inference.recognizer import EmotionRecognizer
from crossmodal.inference.recording import LONGEST
from crossmodal.inference.serve.batching import Batcher
from crossmodal.inference.serve.decoders import Decoders
from crossmodal.inference.serve.limits import Limits, busy, require_positive
from crossmodal.inference.serve.uploads import Uploads

_SAMPLE_BYTES = 4
_PATIENCE = 1.0  # s until who finds no place is refused


@dataclass(frozen=True)
class Work:
    """How the work is shared out.

    Args:
        decoders: Child processes that decode.
        batch_size: Recordings that the model hears at once, at the most.
        batch_wait: Seconds that the first of a batch waits for others.
    """

    decoders: int = 2
    batch_size: int = 16
    batch_wait: float = 0.002

    def __post_init__(self) -> None:
        """Raise ConfigError where nothing would be done."""
        require_positive(self)


class Service:
    """Recognition for many at a time.

    Labels are computed in batches in one thread; timelines, one at a time, in another; live sound in a third: a long
    recording does not hold up a short one.

    Args:
        recognizer: The model.
        limits: What is refused.
        work: How the work is shared out.
    """

    def __init__(self, recognizer: EmotionRecognizer, limits: Limits, work: Work) -> None:
        self.recognizer = recognizer
        self.limits = limits
        self._decoders = Decoders(limits, recognizer.sample_rate, work.decoders)
        self._uploads = Uploads(limits)
        self._label_thread, self._timeline_thread, self._live_thread = (
            ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("label", "timeline", "live")
        )
        self._batcher = Batcher(recognizer.hear, self._label_thread, size=work.batch_size, wait=work.batch_wait)
        self._batching: asyncio.Task[None] | None = None
        self._labels, self._timelines = (
            asyncio.Semaphore(self._places(seconds)) for seconds in (LONGEST, limits.seconds)
        )
        self._requests = self._streams = 0

    def _places(self, seconds: float) -> int:
        """How many recordings of this length may be decoded and wait for the model."""
        size = seconds * self.recognizer.sample_rate * _SAMPLE_BYTES
        return max(1, int(self.limits.held_bytes / size))

    @property
    def is_well(self) -> bool:
        """Whether a request would be answered."""
        return self._decoders.are_well and self._batching is not None and not self._batching.done()

    async def start(self) -> None:
        """Start what works in the background.

        Raises:
            OSError: A decoder does not start.
        """
        await self._decoders.start()
        self._batching = asyncio.get_running_loop().create_task(self._batcher.run())

    async def stop(self) -> None:
        """End it; no request may be under way any more."""
        if self._batching is not None:
            self._batching.cancel()
        await self._decoders.stop()
        for thread in (self._label_thread, self._timeline_thread, self._live_thread):
            thread.shutdown(cancel_futures=True)

    async def predict(self, request: Request) -> Prediction:
        """Say what is heard in an upload.

        Raises:
            RefusalError: It cannot be answered, or not now.
        """
        longest = min(LONGEST, self.limits.seconds)
        async with self._admitted(), self._uploads.read(request) as encoded, self._labels:
            return await self._batcher.hear(await self._decoders.decode(encoded, longest))

    async def timeline(self, request: Request, window: float, hop: float) -> Timeline:
        """Say what is heard in an upload over time; arguments as of `EmotionRecognizer.timeline`.

        Raises:
            RefusalError: It cannot be answered, or not now.
        """
        async with self._admitted(), self._uploads.read(request) as encoded, self._timelines:
            waveform = await self._decoders.decode(encoded, self.limits.seconds)
            compute = partial(self.recognizer.timeline, waveform, window=window, hop=hop)
            return await asyncio.get_running_loop().run_in_executor(self._timeline_thread, compute)

    async def in_live_thread(self, compute: Any, *args: Any) -> Any:
        """Compute for a live stream, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._live_thread, compute, *args)

    @contextlib.asynccontextmanager
    async def _admitted(self) -> AsyncIterator[None]:
        if self._requests >= self.limits.requests:
            # Who is refused at once asks again at once, and reading that takes the time of those who are served.
            await asyncio.sleep(_PATIENCE)
        if self._requests >= self.limits.requests:
            raise busy(f"{self.limits.requests} uploads are under way already")
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hold a place among the live streams as long as the block lasts.

        Raises:
            RefusalError: None is free.
        """
        if self._streams >= self.limits.streams:
            raise busy(f"{self.limits.streams} live streams are open already")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
