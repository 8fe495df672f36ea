"""The server under load with 3 s clips: no errors below its limits; above them 503 and stable throughput.

Server and clients share the machine. Clients do not wait after a 503.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.measure import Row

AT_LEAST = {1: 0.3, 16: 0.5, 64: 0.5}  # by number of clients: share of the throughput of a loop in Python
LIMIT, ABOVE = 64, 192  # clients: the server's limit, and three times as many
SECONDS, ROUNDS = 4.0, 3
RATE = 48_000  # Hz, as in RAVDESS


def run(folder: Path) -> list[Row]:
    """Compare the exported default LSTM behind `crossmodal serve` with the recognizer in a loop."""
    import soundfile

    from crossmodal.inference.onnx_check import voice
    from tests.benchmarks.listening import model_folder

    clip, model = folder / "clip.wav", model_folder(folder / "model", "lstm")
    soundfile.write(clip, voice(RATE, 3 * RATE, seed=1), RATE, subtype="PCM_16")
    port, process = _serve(model)
    try:
        _load(port, 4, 1.0, clip)  # warm-up
        # In turn, so that noise affects all.
        rounds = [
            (_in_a_loop(model, clip), {clients: _load(port, clients, SECONDS, clip) for clients in (*AT_LEAST, ABOVE)})
            for _ in range(ROUNDS)
        ]
    finally:
        process.terminate()
        process.wait(60)
    alone = statistics.median(rate for rate, _ in rounds)
    measured = {clients: _merge([loads[clients] for _, loads in rounds]) for clients in (*AT_LEAST, ABOVE)}
    rows = [_below_the_limit(clients, at_least, alone, measured[clients]) for clients, at_least in AT_LEAST.items()]
    return [*rows, _above_the_limit(measured[LIMIT], measured[ABOVE])]


def _merge(loads: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge the rounds: medians of the times, sums of the statuses."""
    merged: dict[str, Any] = {key: statistics.median(load[key] for load in loads) for key in ("rate", "p50", "p99")}
    return merged | {"statuses": sum((Counter(load["statuses"]) for load in loads), Counter())}


def _below_the_limit(clients: int, at_least: float, alone: float, found: dict[str, Any]) -> Row:
    ratio = found["rate"] / alone
    reached = found["statuses"].keys() == {"200"} and ratio >= at_least
    what = f"server, {clients} client{'s' if clients > 1 else ''}"
    return Row(what, f"{alone:.0f} clips/s", _describe(found), ratio, f"no error, at least {at_least:g} times", reached)


def _above_the_limit(below: dict[str, Any], above: dict[str, Any]) -> Row:
    ratio = above["rate"] / below["rate"]
    reached = above["statuses"].keys() == {"200", "503"} and ratio >= 0.5
    what, goal = f"server, {ABOVE} clients, {LIMIT} allowed", "others 503, at least 0.5 times"
    return Row(what, f"{below['rate']:.0f} clips/s", _describe(above), ratio, goal, reached)


def _describe(found: dict[str, Any]) -> str:
    return f"{found['rate']:.0f} clips/s, p50 {found['p50'] * 1e3:.0f} ms, p99 {found['p99'] * 1e3:.0f} ms"


def _in_a_loop(model: Path, clip: Path, clips: int = 100) -> float:
    """Return the clips per second that the exported model decodes and predicts in sequence."""
    from crossmodal.inference import EmotionRecognizer

    recognizer, content = EmotionRecognizer.from_pretrained(model, backend="onnx"), clip.read_bytes()
    recognizer(content)
    start = time.perf_counter()
    for _ in range(clips):
        recognizer(content)
    return clips / (time.perf_counter() - start)


def _serve(model: Path) -> tuple[int, subprocess.Popen[str]]:
    command = [sys.executable, "-m", "crossmodal", "serve", str(model), "--port", "0", "--backend", "onnx"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    log = subprocess.DEVNULL
    process = subprocess.Popen(command, env=one_thread, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    return int(re.search(r":(\d+) until", process.stdout.readline())[1]), process


def _load(port: int, clients: int, seconds: float, clip: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.server_load", str(port), str(clients), str(seconds), str(clip)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def _clients(port: int, clients: int, seconds: float, clip: Path) -> dict[str, Any]:
    """Send requests continuously, with one connection per client."""
    body = clip.read_bytes()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    start = time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < start + seconds:
            began = time.perf_counter()
            writer.write(head.encode() + body)
            await writer.drain()
            header = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(re.search(r"content-length: (\d+)", header)[1]))
            status = header.split()[1]
            statuses[status] += 1
            if status == "200":
                latencies.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    p50, p99 = np.quantile(latencies, [0.5, 0.99]).tolist()
    rate = len(latencies) / (time.perf_counter() - start)
    return {"statuses": statuses, "rate": rate, "p50": p50, "p99": p99}


if __name__ == "__main__":
    measured = asyncio.run(_clients(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])))
    print(json.dumps(measured))
