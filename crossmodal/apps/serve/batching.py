"""Dynamic batching: waveforms that arrive together are computed together."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from crossmodal.inference.prediction import Prediction

Predict = Callable[[Sequence[NDArray[np.float32]]], list[Prediction]]


class Batcher:
    """Collects waveforms into batches of at most `size` for a model. `predict` runs in the executor.

    While one batch is computed, the next one collects, so batches grow with the load.
    """

    def __init__(self, predict: Predict, executor: Executor, size: int) -> None:
        self._predict = predict
        self._executor = executor
        self._size = size
        self._queue: asyncio.Queue[tuple[NDArray[np.float32], asyncio.Future[Prediction]]] = asyncio.Queue()

    async def predict(self, waveform: NDArray[np.float32]) -> Prediction:
        """Return the prediction for one waveform at the model's sample rate, computed with its batch."""
        result: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((waveform, result))
        return await result

    async def run(self) -> None:
        """Compute batches until cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._size and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            # Skip requests whose clients have disconnected.
            await self._compute([(waveform, result) for waveform, result in batch if not result.done()])

    async def _compute(self, batch: list[tuple[NDArray[np.float32], asyncio.Future[Prediction]]]) -> None:
        waveforms, results = [waveform for waveform, _ in batch], [result for _, result in batch]
        try:
            loop = asyncio.get_running_loop()
            predictions = await loop.run_in_executor(self._executor, self._predict, waveforms)
        except Exception as error:  # every request of the batch has to receive it
            for result in results:
                if not result.done():
                    result.set_exception(error)
            return
        for result, prediction in zip(results, predictions, strict=True):
            if not result.done():
                result.set_result(prediction)
