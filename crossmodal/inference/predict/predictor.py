"""Predict many recordings in this process or in several. An unreadable recording is reported and skipped."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crossmodal.errors import MediaError
from crossmodal.inference.predict.inputs import Input
from crossmodal.inference.prediction import Prediction, Timeline
from crossmodal.inference.recognizer import BackendChoice, EmotionRecognizer, load_recognizer
from crossmodal.inference.recording import read_recording
from crossmodal.own_code import trusting
from crossmodal.process_pool import Failure, run_in_processes

_BATCH_SIZE = 4  # recordings; larger batches are hardly faster and would leave some jobs without work


@dataclass(frozen=True)
class AudioResult:
    """Prediction for one recording, or the reason why there is none."""

    name: str
    prediction: Prediction | Timeline | None
    error: str | None = None
    warning: str | None = None  # about the model

    def as_dict(self) -> dict[str, Any]:
        """Return a dict that converts to JSON."""
        warning = {"warning": self.warning} if self.warning else {}
        return {
            "file": self.name,
            **(self.prediction.as_dict() if self.prediction else {"error": self.error}),
        } | warning


@dataclass(frozen=True)
class FilePredictor:
    """Predict recordings with the model of a folder, over time in windows of `window` seconds unless it is None."""

    folder: Path
    config: Mapping[str, Any]
    backend: BackendChoice = "auto"
    window: float | None = None
    hop: float = 0.5
    trust_own_code: bool = False

    @cached_property
    def recognizer(self) -> EmotionRecognizer:
        """The model, loaded on first use in each process."""
        with trusting(self.trust_own_code):
            return load_recognizer(self.folder, self.config, self.backend)

    def predict(self, inputs: Sequence[Input], jobs: int = 1) -> Iterator[AudioResult]:
        """Predict each input in order, in this process or in several with one thread each."""
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
            if item.plot:
                from crossmodal.inference.predict.plot import plot_timeline

                plot_timeline(_path_of(item), timeline, item.plot, title=item.title)
        except MediaError as error:
            return _failed(item, error.reason)
        return AudioResult(item.name, timeline)

    def _predict_in_processes(self, batches: Sequence[Sequence[Input]], processes: int) -> Iterator[AudioResult]:
        os.environ["OMP_NUM_THREADS"] = "1"  # of each process
        jobs = [(self, index, batch) for index, batch in enumerate(batches)]
        outcomes = run_in_processes(_predict_in_child, jobs, processes, queued=2, catch=MediaError)
        finished: dict[int, list[AudioResult] | Failure] = {}
        for index, batch in enumerate(batches):
            while index not in finished:
                (_, other, _), outcome = next(outcomes)
                finished[other] = outcome
            results = finished.pop(index)
            if not isinstance(results, Failure):
                yield from results
            elif len(batch) > 1:  # one recording crashed its decoder: run them one by one to find it
                yield from self._predict_in_processes([[item] for item in batch], 1)
            else:
                yield _failed(batch[0], results.reason)


_predictors: dict[Path, FilePredictor] = {}  # in a child process: its models stay loaded


def _predict_in_child(job: tuple[FilePredictor, int, Sequence[Input]]) -> list[AudioResult]:
    predictor, _, batch = job
    return _predictors.setdefault(predictor.folder, predictor).predict_batch(batch)


def _path_of(item: Input) -> Path:
    if item.path is None:
        raise MediaError(item.name, item.error or "")
    return item.path


def _failed(item: Input, reason: str) -> AudioResult:
    return AudioResult(item.name, None, f"{item.title}: {reason}")
