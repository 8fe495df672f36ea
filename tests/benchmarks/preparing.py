"""Preparing a corpus: throughput compared with decord alone, and peak memory from 100 to 2,000 clips."""

import itertools
import subprocess
import sys
from pathlib import Path

from crossmodal.datasets import FaceCrops, index_ravdess, prepare_corpus
from crossmodal.datasets.ravdess import FACE_BOX
from crossmodal.datasets.synthetic import synthesize
from tests.benchmarks.decord_alone import decode_all
from tests.benchmarks.measure import Row, compare
from tests.benchmarks.prepare_copies import write_copies

CROPS = FaceCrops(num_video_frames=8, face_size=112, box=FACE_BOX)
SMALL, LARGE = 100, 2_000


def run(folder: Path) -> list[Row]:
    """Measure both with one process per core."""
    return [_throughput(folder), _memory(folder)]


def _throughput(folder: Path) -> Row:
    """Compare with decord, which only decodes; we also hash, decode the audio, crop, scale and write."""
    clips = index_ravdess(synthesize(folder / "corpus", actors=3, resolution=(1280, 720))).clips
    videos = [clip.video for clip in clips]
    caches = itertools.count()

    def ours() -> None:
        made = prepare_corpus(clips, crops=CROPS, folder=folder / f"cache_{next(caches)}").made
        assert made == 2 * len(clips)

    what = f"prepare {len(clips)} clips, 1280x720, compared with decord alone"
    return compare(what, lambda: decode_all(videos, CROPS.num_video_frames), ours, at_least=0.8)


def _memory(folder: Path) -> Row:
    """Measure each size in a separate process: its peak plus that of its largest child."""
    small, large = (_peak(folder / f"clips_{clips}", clips) for clips in (SMALL, LARGE))
    growth = large / small
    return Row(
        f"peak memory of prepare, {SMALL} to {LARGE:,} clips",
        f"{small:.0f} MB",
        f"{large:.0f} MB",
        growth,
        "at most 1.1 times",
        growth <= 1.1,
    )


def _peak(folder: Path, clips: int) -> float:
    write_copies(folder, clips)
    command = [sys.executable, "-m", "tests.benchmarks.prepare_copies", str(folder), str(clips)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
