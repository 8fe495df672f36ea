"""``python -m tests.benchmarks.video_decoders FOLDER``: PyAV and decord on the mp4s of a folder."""

import statistics
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from crossmodal.media import probe_video, read_video_frames
from tests.benchmarks.measure import seconds

RUNS = 5
COUNTS = (1, 8, 32, None)  # pictures per clip; None for all


def times_of(path: Path, count: int | None) -> np.ndarray:
    """Return the times of evenly spaced pictures, each in the middle of its part of the clip."""
    info = probe_video(path)
    number = count or info.num_video_frames
    return (np.arange(number) + 0.5) * info.duration / number


def main(folder: Path) -> None:
    """Print the median milliseconds per clip, and the number of pictures that differ."""
    paths = sorted(folder.rglob("*.mp4"))
    table = Table("pictures per clip", "PyAV", "decord", "PyAV / decord", "pictures that differ", box=None)
    for count in COUNTS:
        times = {path: times_of(path, count) for path in paths}
        read = {
            name: lambda name=name, times=times: [read_video_frames(path, times[path], decoder=name) for path in paths]
            for name in ("pyav", "decord")
        }
        runs = [[seconds(read[name]) for name in read] for _ in range(RUNS)]
        pyav, decord = (1000 * statistics.median(column) / len(paths) for column in zip(*runs, strict=True))
        pairs = zip(read["pyav"](), read["decord"](), strict=True)
        differing = sum(int((one != other).any(axis=(1, 2, 3)).sum()) for one, other in pairs)
        total = sum(map(len, times.values()))
        row = f"{pyav:.0f} ms", f"{decord:.0f} ms", f"{pyav / decord:.2f}", f"{differing} of {total}"
        table.add_row(str(count or "all"), *row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
