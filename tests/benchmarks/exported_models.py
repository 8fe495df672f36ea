"""Accuracy of exported models on RAVDESS: ``python -m tests.benchmarks.exported_models --root DIR MODEL...``.

Each model predicts the validation and test actors of its fold in PyTorch, as ONNX and with 8-bit weights. The table has
UAR in percent, the differences of the exported models in points, and the largest difference of a probability.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import balanced_accuracy_score

from crossmodal import media
from crossmodal.datasets.ravdess import index_ravdess
from crossmodal.inference.export import export_model
from crossmodal.inference.model_config import read_config
from crossmodal.inference.onnx_model import load_onnx_model
from crossmodal.inference.recognizer import VoiceModel
from crossmodal.inference.torch_model import load_torch_model
from crossmodal.progress import progress_bar

Voices = dict[str, list[tuple[NDArray[np.float32], str]]]  # waveforms with their emotions, by actor


def read_voices(root: Path) -> Voices:
    voices: Voices = {}
    with progress_bar() as progress:
        for clip in progress.track(index_ravdess(root, "speech").clips, description="Decoding"):
            voices.setdefault(clip.actor, []).append(
                (media.read_waveform(clip.audio, start=clip.audio_start), clip.label)
            )
    return voices


def predict(model: VoiceModel, voices: Voices, actors: list[str]) -> NDArray[np.float64]:
    """Return the probabilities of each clip, (clips, K), predicted one clip at a time."""
    waveforms = [waveform for actor in actors for waveform, _ in voices[actor]]
    return np.concatenate([model.probabilities(one[None], np.array([len(one)])) for one in waveforms])


def measure(folder: Path, voices: Voices) -> list[str]:
    config = read_config(folder)
    with tempfile.TemporaryDirectory() as exported:
        files = export_model(folder, exported, int8=True)
        small = load_onnx_model(exported, int8=True)
        models: list[VoiceModel] = [load_torch_model(folder), load_onnx_model(exported), small]
    cells = [f"{config['model']['front_end']} + {config['model']['encoder']}"]
    cells.append(", ".join(f"{file.size / 1e6:.2f}" for file in files))
    moved = np.zeros(2)
    for split in ("val", "test"):
        actors = [actor for actor in config["corpus"]["actors"][split] if actor in voices]
        targets = [config["labels"].index(label) for actor in actors for _, label in voices[actor]]
        predicted = [predict(model, voices, actors) for model in models]
        values = [100 * balanced_accuracy_score(targets, one.argmax(axis=1)) for one in predicted]
        cells += [f"{values[0]:.1f}", f"{values[1] - values[0]:+.2f}", f"{values[2] - values[0]:+.2f}"]
        moved = np.maximum(moved, [np.abs(one - predicted[0]).max() for one in predicted[1:]])
    return [*cells, f"{moved[0]:.0e}", f"{moved[1]:.3f}"]


def main(args: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.exported_models", description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="model folders")
    parser.add_argument("--root", required=True, type=Path, help="folder of the extracted RAVDESS files")
    given = parser.parse_args(args)
    torch.set_num_threads(1)
    voices = read_voices(given.root)
    splits = [f"{split} {name}" for split in ("val", "test") for name in ("UAR", "ONNX", "int8")]
    table = Table("model", "MB", *splits, "largest change: ONNX", "int8", box=None)
    with progress_bar() as progress:
        for folder in progress.track(given.models, description="Predicting"):
            table.add_row(*measure(folder, voices))
    Console(width=140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
