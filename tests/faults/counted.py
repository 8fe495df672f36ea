"""The command line with logging of its work: ``-m tests.faults.counted BATCHES FILES ...``.

A line is appended to the first file for each started batch, and to the second for each file or folder that is moved to
its final path. Lines are written at once, so that they survive a crash.
"""

import os
import sys
from pathlib import Path

FILES = "CROSSMODAL_TEST_FILES"  # tells child processes the second file
_replace = Path.replace


def append(path: str, line: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def count_batches(path: str) -> None:
    from crossmodal.pipeline.callbacks import SeedEachBatch

    seed = SeedEachBatch.on_train_batch_start

    def on_train_batch_start(callback, trainer, task, batch, batch_idx):
        append(path, f"{task.stage} {trainer.current_epoch} {batch_idx}")
        seed(callback, trainer, task, batch, batch_idx)

    SeedEachBatch.on_train_batch_start = on_train_batch_start


def count_files() -> None:
    """Log each file that is moved to its final path."""

    def replace(self, target):
        append(os.environ[FILES], str(Path(target).resolve()))
        return _replace(self, target)

    Path.replace = replace


if __name__ == "__main__":
    from crossmodal.cli.main import main

    count_batches(sys.argv.pop(1))
    os.environ[FILES] = str(Path(sys.argv.pop(1)).resolve())
    count_files()
    sys.exit(main())
elif __name__ == "__mp_main__":  # a child process that decodes
    count_files()
