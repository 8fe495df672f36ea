"""``python -m tests.benchmarks.prepare_copies FOLDER COUNT``: prepare COUNT clips and print the peak memory in MB.

This is a separate process with few imports: torch alone would use more memory than what is measured.
"""

import resource
import sys
from dataclasses import replace
from pathlib import Path

from crossmodal.datasets import FaceCrops, index_ravdess, prepare_corpus
from crossmodal.datasets.ravdess import FACE_BOX
from crossmodal.datasets.synthetic import corpus
from crossmodal.datasets.synthetic.performance import Performance
from tests.benchmarks.own_memory import own_peak


def write_copies(folder: Path, count: int) -> None:
    """Write copies of a clip with distinct content: the mp4 gets a trailing box that decoders ignore."""
    corpus.list_performances = lambda actors, channel, repetitions: [Performance(1, 1, 1, 1, 1, 1)]
    root = corpus.synthesize(folder / "one", actors=1, resolution=(160, 90), num_processes=1)
    (clip,) = index_ravdess(root).clips
    wav, mp4 = clip.audio.read_bytes(), clip.video.read_bytes()
    for number in range(count):
        (folder / f"{number}.wav").write_bytes(wav[:-4] + number.to_bytes(4, "little"))
        (folder / f"{number}.mp4").write_bytes(mp4 + (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))


def prepare_copies(folder: Path, count: int) -> None:
    (clip,) = index_ravdess(folder / "one").clips
    clips = [
        replace(clip, clip=str(number), audio=folder / f"{number}.wav", video=folder / f"{number}.mp4")
        for number in range(count)
    ]
    crops = FaceCrops(num_video_frames=8, face_size=112, box=FACE_BOX)
    made = prepare_corpus(clips, crops=crops, folder=folder / "cache", num_processes=2).made
    assert made == 2 * count


if __name__ == "__main__":
    prepare_copies(Path(sys.argv[1]), int(sys.argv[2]))
    largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(own_peak() + largest_child / (2**10 if sys.platform == "linux" else 2**20))
