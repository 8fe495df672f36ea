"""Peak memory of a transfer epoch from the cache, as the corpus grows from 100 to 1,000 clips."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.own_memory import own_peak


def run(folder: Path) -> list[Any]:
    """Measure each size in a separate process; each clip has its own files: 3.5 s, 8 crops of 112x112."""
    from tests.benchmarks.measure import compare_memory

    folders = {clips: folder / f"arrays_{clips}" for clips in (100, 1_000)}
    return [compare_memory("an epoch", "tests.benchmarks.memory", folders)]


def _epoch(folder: Path, clips: int) -> None:
    from torch.utils.data import DataLoader

    from crossmodal.datamodules import ClipDataset, collate_clips
    from crossmodal.datasets import Clip, ClipTensors
    from crossmodal.tasks import TransferTask
    from tests.benchmarks.measure import train_epoch

    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"clip{number:04d}" for number in range(clips)]
    paths = {kind: {name: folder / f"{kind}_{name}.npy" for name in names} for kind in ("waveforms", "faces")}
    for name in names:
        np.save(paths["waveforms"][name], rng.normal(0, 0.1, 56_000).astype(np.float32))
        np.save(paths["faces"][name], rng.integers(0, 256, (8, 3, 112, 112), np.uint8))
    outputs = {"teacher_embedding": rng.normal(size=(clips, 128)).astype(np.float32)}
    outputs["teacher_logits"] = rng.normal(size=(clips, 8)).astype(np.float32)
    ClipTensors.save(folder / "outputs.safetensors", names, outputs, train_actors=[])
    corpus = [Clip(name, "01", "happy") for name in names]
    dataset = ClipDataset(corpus, ["happy"], **paths, tensors=ClipTensors(folder / "outputs.safetensors"))
    loader = DataLoader(dataset, batch_size=32, collate_fn=collate_clips)
    train_epoch(TransferTask(), loader)


if __name__ == "__main__":
    _epoch(Path(sys.argv[1]), int(sys.argv[2]))
    print(own_peak())
