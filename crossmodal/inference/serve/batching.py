"""Waveforms that arrive together are heard together."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from crossmodal.inference.prediction import Prediction

Hear = Callable[[Sequence[NDArray[np.float32]]], list[Prediction]]


class Batcher:
    """Puts waveforms to the model in batches.

    While one batch is computed, the next one gathers; so batches grow with the load by themselves. A short wait lets
    those join that arrive at almost the same time.

    Args:
        hear: Says what is in waveforms; called in the executor's thread.
        executor: Where it is computed, off the event loop.
        size: Waveforms in a batch, at the most.
        wait: Seconds that the first of a batch waits for others.
    """

    def __init__(self, hear: Hear, executor: Executor, *, size: int, wait: float) -> None:
        self._hear = hear
        self._executor = executor
        self._size = size
        self._wait = wait
        self._queue: asyncio.Queue[tuple[NDArray[np.float32], asyncio.Future[Prediction]]] = asyncio.Queue()

    async def hear(self, waveform: NDArray[np.float32]) -> Prediction:
        """Say what is in one waveform, at the model's rate; waits for its batch."""
        heard: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((waveform, heard))
        return await heard

    async def run(self) -> None:
        """Compute batch after batch, until cancelled."""
        while True:
            first = await self._queue.get()
            if self._queue.qsize() < self._size - 1:
                await asyncio.sleep(self._wait)
            batch = [first]
            while len(batch) < self._size and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            # Who hung up meanwhile is not computed.
            await self._compute([(waveform, heard) for waveform, heard in batch if not heard.done()])

    async def _compute(self, batch: list[tuple[NDArray[np.float32], asyncio.Future[Prediction]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._executor, self._hear, [waveform for waveform, _ in batch])
        except Exception as error:  # whatever it is, each of them has to be told
            for _, heard in batch:
                if not heard.done():
                    heard.set_exception(error)
            return
        for (_, heard), answer in zip(batch, answers, strict=True):
            if not heard.done():
                heard.set_result(answer)
