"""Predict many recordings in this process or in several. An unreadable recording is reported and skipped."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from crossmodal.errors import MediaError
from crossmodal.inference.predict.inputs import Input
from crossmodal.inference.prediction import Prediction, Timeline
from crossmodal.inference.recognizer import BackendChoice, EmotionRecognizer, load_recognizer
from crossmodal.inference.recording import read_recording

_BATCH_SIZE = 4  # recordings; larger batches are hardly faster and would leave some jobs without work


@dataclass(frozen=True)
class AudioResult:
    """Prediction for one recording, or the reason why there is none."""

    name: str
    prediction: Prediction | Timeline | None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return a dict that converts to JSON."""
        return {"file": self.name, **(self.prediction.as_dict() if self.prediction else {"error": self.error})}


@dataclass(frozen=True)
class FilePredictor:
    """Predict recordings with the model of a folder whose configuration has been read.

    A timeline has windows of `window` seconds; None means one label per recording. `plots` has the path of the plot for
    each input name.
    """

    folder: Path
    config: Mapping[str, Any]
    backend: BackendChoice = "auto"
    window: float | None = None
    hop: float = 0.5
    plots: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def recognizer(self) -> EmotionRecognizer:
        """The model, loaded on first use in each process."""
        return load_recognizer(self.folder, self.config, self.backend)

    def predict(self, inputs: Sequence[Input], jobs: int = 1) -> Iterator[AudioResult]:
        """Predict each input in order, in this process or in several with one thread each.

        Raises:
            ModelFolderError: If the model cannot be loaded.
        """
        size = _BATCH_SIZE if self.window is None else 1
        batches = [inputs[first : first + size] for first in range(0, len(inputs), size)]
        if jobs == 1 or len(batches) == 1:
            for batch in batches:
                yield from self.predict_batch(batch)
        else:
            yield from self._predict_in_processes(batches, min(jobs, len(batches)))

    def predict_batch(self, inputs: Sequence[Input]) -> list[AudioResult]:
        """Predict inputs in this process."""
        if self.window is not None:
            return [self._predict_timeline(item, self.window) for item in inputs]
        waveforms, errors = {}, {}
        for item in inputs:
            try:
                waveforms[item.name] = read_recording(_path_of(item), None, self.recognizer.sample_rate)
            except MediaError as error:
                errors[item.name] = _failed(item, error.reason)
        predictions = dict(zip(waveforms, self.recognizer.predict_batch(list(waveforms.values())), strict=True))
        return [errors.get(item.name) or AudioResult(item.name, predictions[item.name]) for item in inputs]

    def _predict_timeline(self, item: Input, window: float) -> AudioResult:
        try:
            timeline = self.recognizer.timeline(_path_of(item), window=window, hop=self.hop)
            if plot := self.plots.get(item.name):
                from crossmodal.inference.predict.plot import plot_timeline

                plot_timeline(_path_of(item), timeline, plot, title=item.title)
        except MediaError as error:
            return _failed(item, error.reason)
        return AudioResult(item.name, timeline)

    def _predict_in_processes(self, batches: Sequence[Sequence[Input]], processes: int) -> Iterator[AudioResult]:
        # spawn, not fork: the parent's threads would leave locks held in a forked child.
        pool = ProcessPool(processes, initializer=_start_process, initargs=[self], context=get_context("spawn"))
        try:
            futures = [pool.schedule(_predict_batch, args=[batch]) for batch in batches]
            for future, batch in zip(futures, batches, strict=True):
                try:
                    yield from future.result()
                except ProcessExpired:  # one recording of the batch crashed its decoder: run them one by one to find it
                    for item in batch:
                        try:
                            yield from pool.schedule(_predict_batch, args=[[item]]).result()
                        except ProcessExpired as error:
                            yield _failed(item, f"its decoder crashed (exit code {error.exitcode})")
        finally:
            pool.stop()
            pool.join()


def _path_of(item: Input) -> Path:
    if item.path is None:
        raise MediaError(item.name, item.error or "")
    return item.path


def _failed(item: Input, reason: str) -> AudioResult:
    return AudioResult(item.name, None, f"{item.title}: {reason}")


_predictors: list[FilePredictor] = []  # of a child process


def _start_process(predictor: FilePredictor) -> None:
    """Set one thread for this process and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    _predictors[:] = [predictor]


def _predict_batch(inputs: Sequence[Input]) -> list[AudioResult]:
    return _predictors[0].predict_batch(inputs)
