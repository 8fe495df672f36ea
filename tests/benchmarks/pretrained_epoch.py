"""A training epoch on stored states of a pretrained network, compared with running the network in each epoch."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.own_memory import own_peak

_CLIPS = 96
# The sizes of Whisper tiny.
_SIZES = {
    "d_model": 384,
    "encoder_layers": 4,
    "encoder_ffn_dim": 1536,
    "num_mel_bins": 80,
    "max_source_positions": 1500,
}


def run(folder: Path) -> list[Any]:
    """Measure epochs without trained layers, from summaries and from states, and with one and two trained layers."""
    from safetensors.torch import save_file

    from crossmodal.models.whisper import WhisperEncoder
    from tests.benchmarks.measure import compare_memory

    save_file(WhisperEncoder(_SIZES).state_dict(), folder / "weights.safetensors")
    states = folder / "weights.safetensors"
    rows = [_row("summaries", states, at_least=20, mix_layers=False)]
    rows += [_row("states, mixed", states, at_least=1)]
    rows += [_row(f"states, {count} trained", states, at_least=1, trainable_layers=count) for count in (1, 2)]
    folders = {clips: folder / f"arrays_{clips}" for clips in (100, 1_000)}
    return [*rows, compare_memory("an epoch on states", "tests.benchmarks.pretrained_epoch", folders)]


def _row(what: str, weights: Path, at_least: float, mix_layers: bool = True, **front_end: Any) -> Any:
    import torch
    from torch.utils.data import DataLoader

    from crossmodal.datamodules import collate_clips
    from crossmodal.tasks import ControlTask
    from tests.benchmarks.measure import BATCH, compare, noise_loader, train_epoch

    kwargs = {"weights": str(weights), "layers": [2, 3], "silence_db": None, **front_end}
    task = ControlTask(
        front_end="pretrained",
        front_end_kwargs=kwargs,
        mix_layers=mix_layers,
        encoder="dense",
        encoder_kwargs={"pooling": "stats"},
    )
    loader = noise_loader(_CLIPS)
    task.fit_normalization(loader)
    items = []
    for item in loader.dataset:
        features, length = task.model.run_front_end(item["waveform"].view(1, 1, -1))
        stored = {"features": features[0].half()}
        if not mix_layers:
            with torch.no_grad():
                stored = {"summary": task.model.summarize(features, length)}
        items.append({name: value for name, value in item.items() if name != "waveform"} | stored)
    batches: DataLoader[Any] = DataLoader(items, batch_size=BATCH, collate_fn=collate_clips)  # type: ignore[arg-type]
    live, ours = lambda: train_epoch(task, loader), lambda: train_epoch(task, batches)
    return compare(f"epoch on {what}, compared with running the network", live, ours, at_least)


def _epoch(folder: Path, clips: int) -> None:
    from safetensors.torch import save_file
    from torch.utils.data import DataLoader

    from crossmodal.datamodules import ClipDataset, collate_clips
    from crossmodal.datasets import Clip
    from crossmodal.models.whisper import WhisperEncoder
    from crossmodal.tasks import ControlTask
    from tests.benchmarks.measure import train_epoch

    folder.mkdir()
    save_file(WhisperEncoder(_SIZES).state_dict(), folder / "weights.safetensors")
    names = [f"clip{number:04d}" for number in range(clips)]
    paths = {name: [folder / f"{name}.npy"] for name in names}
    for (path,) in paths.values():
        np.save(path, np.random.default_rng(0).normal(size=(768, 185)).astype(np.float16))
    dataset = ClipDataset([Clip(name, "01", "happy") for name in names], ["happy"], features=paths)
    kwargs = {"weights": str(folder / "weights.safetensors"), "layers": [2, 3]}
    task = ControlTask(
        front_end="pretrained", front_end_kwargs=kwargs, encoder="dense", encoder_kwargs={"pooling": "stats"}
    )
    train_epoch(task, DataLoader(dataset, batch_size=32, collate_fn=collate_clips))


if __name__ == "__main__":
    _epoch(Path(sys.argv[1]), int(sys.argv[2]))
    print(own_peak())
