"""Preparing a corpus: throughput compared with decord alone, and peak memory from 100 to 2,000 clips."""

import itertools
from pathlib import Path

from crossmodal.datasets import FaceCrops, index_ravdess, prepare_corpus
from crossmodal.datasets.ravdess import FACE_BOX
from crossmodal.datasets.synthetic import synthesize
from tests.benchmarks.decord_alone import decode_all
from tests.benchmarks.measure import Row, compare, compare_memory
from tests.benchmarks.prepare_copies import write_copies

CROPS = FaceCrops(num_video_frames=8, face_size=112, box=FACE_BOX)


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
    folders = {clips: folder / f"clips_{clips}" for clips in (100, 2_000)}
    for clips, place in folders.items():
        write_copies(place, clips)
    return compare_memory("prepare", "tests.benchmarks.prepare_copies", folders)
