"""Inference on one core in PyTorch and ONNX: real-time factor, latency, time to first prediction, memory."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from crossmodal.inference import EmotionRecognizer
from crossmodal.inference.export import export_model
from crossmodal.inference.onnx_check import voice
from crossmodal.models import AudioClassifier
from crossmodal.storage import write_json
from tests.benchmarks.measure import RATE, Row, Run, seconds

CLIP = 3.0  # seconds
LABELS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]
# Goals for the real-time factor of each encoder, front end included: CPU seconds per second of audio.
GOALS = {"dense": 0.002, "tdnn": 0.002, "cnn": 0.002, "lstm": 0.005, "crnn": 0.005, "transformer": 0.005}
RUNS, LATENCIES = 150, 1000

_ANSWER = """\
import sys
from crossmodal import EmotionRecognizer
print(EmotionRecognizer.from_pretrained(sys.argv[1], backend=sys.argv[2])(sys.argv[3]).label, 'torch' in sys.modules)
"""
_HOUR = """\
import sys
from crossmodal import EmotionRecognizer
from tests.benchmarks.own_memory import own_peak
timeline = EmotionRecognizer.from_pretrained(sys.argv[1], backend=sys.argv[2]).timeline(sys.argv[3])
print(len(timeline.windows), own_peak())
"""


def run(folder: Path) -> list[Row]:
    """Measure models with random weights, which are as fast as trained ones, on 3 s of a generated voice."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    folders = {encoder: model_folder(folder / encoder, encoder) for encoder in GOALS}
    rows = [row for encoder, path in folders.items() for row in _real_time_factor(encoder, path)]
    return [*rows, _latency(folders["lstm"]), _first_answer(folders["lstm"], folder), _hour(folders["lstm"], folder)]


def model_folder(folder: Path, encoder: str) -> Path:
    """Write a model folder with random weights, and export it."""
    model = AudioClassifier("mfcc", encoder).eval()
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {"format": 1, "model": model.config, "labels": LABELS, "sample_rate": RATE, "temperature": 1.0}
    write_json(folder / "config.json", config)
    export_model(folder)
    return folder


def _both(folder: Path) -> list[Run]:
    """Return functions that predict the clip in PyTorch and in ONNX."""
    clip = voice(RATE, round(CLIP * RATE), seed=1)
    return [partial(EmotionRecognizer.from_pretrained(folder, backend=backend), clip) for backend in ("torch", "onnx")]


def _times(runs: int, *what: Run, clock: Callable[[Run], float] = seconds) -> NDArray[np.float64]:
    """Return the times of each function, (runs, functions), in turn so that noise affects all."""
    for one in what * 3:  # warm-up
        one()
    return np.array([[clock(one) for one in what] for _ in range(runs)])


def _work(run: Run) -> float:
    """Return the CPU time of this thread, without the time of other processes on its core."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


def _real_time_factor(encoder: str, folder: Path) -> list[Row]:
    eager, exported = np.median(_times(RUNS, *_both(folder), clock=_work), axis=0) / CLIP
    ratio, goal = eager / exported, GOALS[encoder]
    name = f"real-time factor of mfcc + {encoder}, PyTorch and ONNX"
    row = Row(name, f"{eager:.5f}", f"{exported:.5f}", ratio, f"at most {goal:g}", max(eager, exported) <= goal)
    if encoder != "lstm":
        return [row]
    faster = Row("ONNX and PyTorch, lstm", f"{eager:.5f}", f"{exported:.5f}", ratio, "at least 1.5", ratio >= 1.5)
    return [row, faster]


def _latency(folder: Path) -> Row:
    times = 1000 * _times(LATENCIES, *_both(folder))
    (slow, fast), (slowest, fastest) = np.percentile(times, [50, 99], axis=0)
    eager, exported = f"{slow:.1f}, {slowest:.1f} ms", f"{fast:.1f}, {fastest:.1f} ms"
    return Row("a clip of 3 s, lstm: p50 and p99", eager, exported, slow / fast, "p99 under 20 ms", fastest < 20)


def _first_answer(folder: Path, scratch: Path) -> Row:
    """Measure the time from process start to the prediction of a file."""
    wav = scratch / "clip.wav"
    soundfile.write(wav, voice(RATE, round(CLIP * RATE), seed=1), RATE)

    def answer(backend: str) -> None:
        _, imports_torch = _run(_ANSWER, folder, backend, wav).split()
        assert imports_torch == str(backend == "torch"), "only the PyTorch model may import torch"

    slow, fast = np.median(_times(5, lambda: answer("torch"), lambda: answer("onnx")), axis=0)
    return Row("start to first prediction", f"{slow:.2f} s", f"{fast:.2f} s", slow / fast, "under 1.0 s", fast < 1)


def _hour(folder: Path, scratch: Path) -> Row:
    """Measure the peak memory of a process that computes the timeline of an hour."""
    wav, minute = scratch / "hour.wav", voice(RATE, 60 * RATE, seed=2)
    with soundfile.SoundFile(wav, "w", RATE, 1) as file:
        for _ in range(60):
            file.write(minute)
    peaks = {backend: float(_run(_HOUR, folder, backend, wav).split()[1]) for backend in ("torch", "onnx")}
    slow, fast = peaks["torch"], peaks["onnx"]
    megabytes = f"{slow:.0f} MB", f"{fast:.0f} MB"
    return Row("memory of an hour's timeline", *megabytes, slow / fast, "under 300 MB", fast < 300)


def _run(code: str, *args: object) -> str:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
