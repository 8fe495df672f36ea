import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crossmodal.apps.serve.batching import Batcher
from crossmodal.inference.prediction import Prediction


class FakeModel:
    """Predicts the length of each waveform, and records the batches and the threads."""

    def __init__(self, seconds=0.0):
        self.batches, self.threads, self.seconds = [], set(), seconds

    def __call__(self, waveforms):
        self.batches.append([len(waveform) for waveform in waveforms])
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if any(len(waveform) == 13 for waveform in waveforms):
            raise ValueError("thirteen")
        return [Prediction(str(len(waveform)), {str(len(waveform)): 1.0}) for waveform in waveforms]


def run(model, scenario, size=4):
    """Run a coroutine function with a batcher."""

    async def running():
        with ThreadPoolExecutor(1, thread_name_prefix="model") as executor:
            batcher = Batcher(model, executor, size)
            task = asyncio.get_running_loop().create_task(batcher.run())
            try:
                return await asyncio.wait_for(scenario(batcher), 10)
            finally:
                task.cancel()

    return asyncio.run(running())


def waveforms(*lengths):
    return [np.zeros(length, np.float32) for length in lengths]


async def predict_all(batcher, *lengths):
    return await asyncio.gather(*map(batcher.predict, waveforms(*lengths)), return_exceptions=True)


def test_waveforms_that_arrive_during_a_batch_form_the_next_one():
    model = FakeModel(seconds=0.1)

    async def scenario(batcher):
        first = asyncio.create_task(predict_all(batcher, 1))
        await asyncio.sleep(0.05)
        await asyncio.gather(first, predict_all(batcher, 2), predict_all(batcher, 3), predict_all(batcher, 4))

    run(model, scenario)
    assert model.batches == [[1], [2, 3, 4]]
    model.batches.clear()
    run(model, lambda batcher: predict_all(batcher, 1, 2, 3, 4, 5))  # at the same time
    assert model.batches == [[1, 2, 3, 4], [5]]
    assert model.threads == {"model_0"}, "off the event loop"


def test_an_error_reaches_the_whole_batch_and_the_next_batch_works():
    model = FakeModel()

    async def scenario(batcher):
        return await predict_all(batcher, 13, 2), await predict_all(batcher, 3)

    failed, (predictions,) = run(model, scenario)
    assert all(isinstance(one, ValueError) for one in failed)
    assert predictions.label == "3"


def test_cancelled_requests_are_not_computed():
    model = FakeModel(seconds=0.1)

    async def scenario(batcher):
        first = asyncio.create_task(batcher.predict(*waveforms(1)))
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(batcher.predict(*waveforms(2)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(first, batcher.predict(*waveforms(3)))
        with pytest.raises(asyncio.CancelledError):
            await gone

    run(model, scenario)
    assert model.batches == [[1], [3]]
