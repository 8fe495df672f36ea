"""Train on a stream with several processes, and record the clips that each of them reads.

Arguments: stream, folder for the notes, number of processes, batch size.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from crossmodal import FinetuneTask, StreamingPairedDataModule


class Notes(Callback):
    """Records the clips of every batch by split and epoch."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clips: dict[str, list[list[str]]] = {}

    def _note(self, split: str, trainer: Trainer, batch: dict[str, Any]) -> None:
        self._clips.setdefault(f"{split} {trainer.current_epoch}", []).append(batch["clip"])

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, index: int) -> None:
        self._note("train", trainer, batch)

    def on_validation_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, index: int, loader: int = 0
    ) -> None:
        self._note("val", trainer, batch)

    def on_test_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, index: int, loader: int = 0
    ) -> None:
        self._note("test", trainer, batch)

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        notes = {
            "clips": self._clips,
            "mean": module.model.normalization.mean.tolist(),
            "class_weight": module.class_weight.tolist(),
            "weights": sum(float(parameter.sum()) for parameter in module.parameters()),
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
        }
        (self._folder / f"rank_{trainer.global_rank}.json").write_text(json.dumps(notes))


def train(stream: str, folder: Path, processes: int, batch_size: int) -> None:
    """Train for two epochs and test."""
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    task = FinetuneTask(
        front_end_kwargs={"n_mfcc": 13}, encoder="dense", embedding_size=16, num_classes=4, class_weighting=True
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[Notes(folder)],
    )
    datamodule = StreamingPairedDataModule(stream, batch_size=batch_size)
    trainer.fit(task, datamodule=datamodule)
    trainer.test(task, datamodule=datamodule, verbose=False)


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
