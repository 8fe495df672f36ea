"""Predict many recordings in this process or in several. An unreadable recording is reported and skipped."""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from crossmodal.errors import MediaError
from crossmodal.inference.predict.inputs import Input
from crossmodal.inference.prediction import Prediction, Timeline
from crossmodal.inference.recognizer import BackendChoice, EmotionRecognizer
from crossmodal.inference.recording import read_recording

_BATCH_SIZE = 4  # recordings; larger batches are hardly faster and would leave some jobs without work


@dataclass(frozen=True)
class Heard:
    """Prediction for one recording, or the reason why there is none."""

    name: str
    answer: Prediction | Timeline | None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return a dict that converts to JSON."""
        return {"file": self.name, **({"error": self.error} if self.answer is None else self.answer.as_dict())}


@dataclass(frozen=True)
class Order:
    """Settings of a prediction.

    Args:
        model: Path of a model folder, or the name of a model on the Hub.
        backend: As in `EmotionRecognizer.from_pretrained`.
        window: Length of the windows of a timeline in seconds; None for one label per recording.
        hop: Seconds from one window of a timeline to the next.
        pictures: Path of the plot for each input name.
    """

    model: str
    backend: BackendChoice = "auto"
    window: float | None = None
    hop: float = 0.5
    pictures: dict[str, Path] = field(default_factory=dict)


def listen(inputs: Sequence[Input], order: Order, jobs: int = 1) -> Iterator[Heard]:
    """Predict each input, in the given order.

    Args:
        inputs: Recordings.
        order: Settings.
        jobs: Number of processes with one thread each. 1 is this process, with the backend's number of threads.

    Raises:
        ModelFolderError: If the model cannot be loaded.
    """
    size = 1 if order.window is not None else _BATCH_SIZE
    batches = [inputs[first : first + size] for first in range(0, len(inputs), size)]
    if jobs == 1 or len(batches) == 1:
        for batch in batches:
            yield from hear(order, batch)
    else:
        yield from _listen_in_processes(batches, order, min(jobs, len(batches)))


def hear(order: Order, inputs: Sequence[Input]) -> list[Heard]:
    """Predict a batch of inputs in this process."""
    recognizer = _recognizer(order.model, order.backend)
    if order.window is not None:
        return [_hear_over_time(recognizer, order, item) for item in inputs]
    results: dict[str, Heard] = {}
    waveforms = {}
    for item in inputs:
        try:
            waveforms[item.name] = read_recording(_path_of(item), None, recognizer.sample_rate)
        except MediaError as error:
            results[item.name] = _failed(item, error)
    for name, prediction in zip(waveforms, recognizer.hear(list(waveforms.values())), strict=True):
        results[name] = Heard(name, prediction)
    return [results[item.name] for item in inputs]


def _hear_over_time(recognizer: EmotionRecognizer, order: Order, item: Input) -> Heard:
    assert order.window is not None, "only a timeline has windows"
    try:
        timeline = recognizer.timeline(_path_of(item), window=order.window, hop=order.hop)
        if picture := order.pictures.get(item.name):
            from crossmodal.inference.predict.plot import plot_timeline

            plot_timeline(_path_of(item), timeline, picture, title=item.title)
    except MediaError as error:
        return _failed(item, error)
    return Heard(item.name, timeline)


def _path_of(item: Input) -> Path:
    if item.path is None:
        raise MediaError(item.name, item.error or "")
    return item.path


def _failed(item: Input, error: MediaError) -> Heard:
    return Heard(item.name, None, f"{item.title}: {error.reason}")


@cache
def _recognizer(model: str, backend: BackendChoice) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(model, backend=backend)


def _listen_in_processes(batches: Sequence[Sequence[Input]], order: Order, processes: int) -> Iterator[Heard]:
    # spawn, not fork: the parent's threads would leave locks held in a forked child.
    pool = ProcessPool(processes, initializer=_start_process, context=get_context("spawn"))
    try:
        futures = [pool.schedule(hear, args=(order, batch)) for batch in batches]
        for future, batch in zip(futures, batches, strict=True):
            try:
                yield from future.result()
            except ProcessExpired:  # one recording of the batch crashed its decoder: run them one by one to find it
                for item in batch:
                    try:
                        yield from pool.schedule(hear, args=(order, [item])).result()
                    except ProcessExpired as error:
                        yield Heard(item.name, None, f"{item.title}: its decoder crashed (exit code {error.exitcode})")
    finally:
        pool.stop()
        pool.join()


def _start_process() -> None:
    """Set one thread for this process and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
