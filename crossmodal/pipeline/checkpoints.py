"""A stage's checkpoints: written whole or not at all, and looked through before one is gone on from."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from crossmodal.storage import atomic_path, remove_leftovers

BEST, LAST = "best.ckpt", "last.ckpt"


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the old one, which it then replaces.

    Lightning writes it to the machine's folder for temporary files and moves it: on another disk that is a copy, and
    who is killed in it, or runs out of space, has neither the new one nor the old.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What Lightning keeps.
            path: The file.
            storage_options: None; a file has none.
        """
        written = io.BytesIO()  # torch's own writing to a file says nothing of a disk that is full
        torch.save(checkpoint, written)
        with atomic_path(Path(path)) as temporary:
            temporary.write_bytes(written.getbuffer())


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint holds what was written: it is a zip file, and has the sums of its parts."""
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            return parts.testzip() is None
    except (OSError, EOFError, NotImplementedError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error):
        return False


def find_state(folder: Path, stage: str) -> Path | None:
    """The checkpoint that a stage goes on from, if there is one; a damaged one is told of and removed.

    The end of the best epoch will do as well as the last state: it is further back on the same way. But without it
    nobody knows the best weights, and the stage begins anew.

    Args:
        folder: Of the stage's checkpoints.
        stage: For what is told.
    """
    best, last = folder / BEST, folder / LAST
    for path in (best, last):
        remove_leftovers(path)
    damaged = [path for path in (best, last) if path.exists() and not is_whole(path)]
    for path in damaged:
        goes_on = "starting anew" if best in damaged or not best.exists() else "going on from the best epoch so far"
        print(f"{stage}: {path} is damaged; {goes_on}", flush=True)
    for path in (best, last) if best in damaged else damaged:
        path.unlink(missing_ok=True)
    return next((path for path in (last, best) if path.exists()), None)
