"""``python -m tests.benchmarks.face_sizes FOLDER``: cost per clip of two face sizes, on the mp4s of RAVDESS."""

import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from crossmodal.datasets import Clip, FaceCrops
from crossmodal.datasets.faces.crops import read_face_crops
from crossmodal.datasets.ravdess import FACE_BOX
from crossmodal.models import FaceBackbone
from tests.benchmarks.measure import seconds

RUNS, SIZES = 5, (112, 224)
NETWORKS = ("mobilenetv3_small_100", "mobilenetv1_100", "resnet18")  # random weights take as long


def decode(paths: list[Path], size: int) -> np.ndarray:
    """Return eight crops of each mp4."""
    crops = FaceCrops(num_video_frames=8, face_size=size, box=FACE_BOX)
    return np.stack([read_face_crops(Clip(path.stem, "01", None, video=path), path, crops) for path in paths])


def main(folder: Path) -> None:
    """Print the medians of runs in which the sizes take turns; the first run is for warming up."""
    paths = sorted(folder.rglob("*.mp4"))
    faces = {size: torch.from_numpy(decode(paths, size)) for size in SIZES}
    jobs = {"decode and crop": lambda size: decode(paths, size)}
    for name in NETWORKS:
        network = FaceBackbone(name, pretrained=False).eval()
        jobs[f"embed, {name}"] = lambda size, network=network: network(faces[size])
    table = Table(f"per clip, {len(paths)} clips", *(f"{size} px" for size in SIZES), box=None)
    for what, job in jobs.items():
        times = [[seconds(lambda size=size, job=job: job(size)) for size in SIZES] for _ in range(RUNS + 1)][1:]
        medians = (1000 * statistics.median(column) / len(paths) for column in zip(*times, strict=True))
        table.add_row(what, *(f"{median:.0f} ms" for median in medians))
    table.add_row("disk", *(f"{faces[size].nbytes / len(paths) / 1e6:.2f} MB" for size in SIZES))
    Console(width=120).print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
