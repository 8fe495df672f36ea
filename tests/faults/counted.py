"""The command line itself, which also writes down each batch that it begins: ``-m tests.faults.counted FILE ...``."""

import os
import sys

from crossmodal.main import main
from crossmodal.pipeline.callbacks import SeedEachBatch

_seed = SeedEachBatch.on_train_batch_start


def count_batches(path: str) -> None:
    """Append a line to a file for each batch, at once, so that it is there whatever happens next."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def on_train_batch_start(callback, trainer, task, batch, batch_idx):
        os.write(file, f"{task.stage} {trainer.current_epoch} {batch_idx}\n".encode())
        _seed(callback, trainer, task, batch, batch_idx)

    SeedEachBatch.on_train_batch_start = on_train_batch_start


if __name__ == "__main__":
    count_batches(sys.argv.pop(1))
    sys.exit(main())
