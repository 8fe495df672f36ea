"""Many recordings, in this process or in several; a bad one among them is told and stops nobody."""

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

_TOGETHER = 4  # recordings that the model hears at a time: most of what a batch gains, and enough of them for all jobs


@dataclass(frozen=True)
class Heard:
    """One recording and what was heard in it, or why nothing was."""

    name: str
    answer: Prediction | Timeline | None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"file": self.name, **({"error": self.error} if self.answer is None else self.answer.as_dict())}


@dataclass(frozen=True)
class Order:
    """How to listen.

    Args:
        model: Model folder, or its name on the Hub.
        backend: As for `EmotionRecognizer.from_pretrained`.
        window: Seconds, where a timeline is wanted; else None.
        hop: Seconds, of a timeline.
        pictures: Where the picture of an input goes, by its name.
    """

    model: str
    backend: BackendChoice = "auto"
    window: float | None = None
    hop: float = 0.5
    pictures: dict[str, Path] = field(default_factory=dict)


def listen(inputs: Sequence[Input], order: Order, jobs: int = 1) -> Iterator[Heard]:
    """Listen to each input, in the order given.

    Args:
        inputs: What to listen to.
        order: How.
        jobs: How many processes, each with a thread; 1 is this one, with as many threads as the backend likes.

    Raises:
        ModelFolderError: The model cannot be loaded.
    """
    size = 1 if order.window is not None else _TOGETHER
    batches = [inputs[first : first + size] for first in range(0, len(inputs), size)]
    if jobs == 1 or len(batches) == 1:
        for batch in batches:
            yield from hear(order, batch)
    else:
        yield from _listen_in_processes(batches, order, min(jobs, len(batches)))


def hear(order: Order, inputs: Sequence[Input]) -> list[Heard]:
    """Listen to a few inputs here."""
    recognizer = _recognizer(order.model, order.backend)
    if order.window is not None:
        return [_hear_over_time(recognizer, order, one) for one in inputs]
    heard: dict[str, Heard] = {}
    waveforms = {}
    for one in inputs:
        try:
            waveforms[one.name] = read_recording(_path_of(one), None, recognizer.sample_rate)
        except MediaError as error:
            heard[one.name] = _failed(one, error)
    for name, prediction in zip(waveforms, recognizer.hear(list(waveforms.values())), strict=True):
        heard[name] = Heard(name, prediction)
    return [heard[one.name] for one in inputs]


def _hear_over_time(recognizer: EmotionRecognizer, order: Order, one: Input) -> Heard:
    assert order.window is not None, "only a timeline has windows"
    try:
        timeline = recognizer.timeline(_path_of(one), window=order.window, hop=order.hop)
        if picture := order.pictures.get(one.name):
            from crossmodal.inference.predict.plot import plot_timeline

            plot_timeline(_path_of(one), timeline, picture, title=one.title)
    except MediaError as error:
        return _failed(one, error)
    return Heard(one.name, timeline)


def _path_of(one: Input) -> Path:
    if one.path is None:
        raise MediaError(one.name, one.error or "")
    return one.path


def _failed(one: Input, error: MediaError) -> Heard:
    return Heard(one.name, None, f"{one.title}: {error.reason}")


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
            except ProcessExpired:  # one of them ended a decoder's process: which one?
                for one in batch:
                    try:
                        yield from pool.schedule(hear, args=(order, [one])).result()
                    except ProcessExpired as error:
                        yield Heard(one.name, None, f"{one.title}: it ends its decoder (exit code {error.exitcode})")
    finally:
        pool.stop()
        pool.join()


def _start_process() -> None:
    """One thread for each process, and Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
