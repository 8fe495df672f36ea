"""Train a voice model on your own recordings, described by a manifest (docs/manifests.md)."""

import argparse

from lightning.pytorch import Trainer, seed_everything

from crossmodal import AudioDataModule, ControlTask
from crossmodal.datasets import index_manifest


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", help="CSV or Parquet table with the columns clip, audio, label, speaker")
    parser.add_argument("--folds", type=int, default=5, help="folds of speakers; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=20, help="default: %(default)s")
    args = parser.parse_args()

    index = index_manifest(args.manifest)
    print(f"{len(index.clips)} clips, labels: {', '.join(index.labels)}")
    for excluded in index.excluded:
        print(f"excluded: {excluded.what}: {excluded.reason}")

    seed_everything(0)
    data = AudioDataModule(manifest=args.manifest, num_folds=args.folds)
    task = ControlTask(encoder="dense", front_end="lmfb", num_classes=len(index.labels))
    trainer = Trainer(max_epochs=args.epochs, logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer.fit(task, datamodule=data)
    metrics = trainer.test(task, datamodule=data, verbose=False)[0]
    print(f"test UAR {metrics['control/test_uar']:.3f}")


if __name__ == "__main__":  # child processes that decode recordings import this file
    main()
