"""Checkpoints of a stage: written atomically, and verified before training resumes from one."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from crossmodal.storage import atomic_path, remove_leftovers

BEST, LAST = "best.ckpt", "last.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint to a temporary file beside the old one, then replace the old one.

    Lightning writes to the system's temporary folder and moves the file. On another disk the move is a copy: if the
    process is killed or the disk is full, both checkpoints are lost.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint of Lightning; the storage options are not used."""
        buffer = io.BytesIO()  # torch.save to a file does not report a full disk
        torch.save(checkpoint, buffer)
        with atomic_path(Path(path)) as temporary:
            temporary.write_bytes(buffer.getbuffer())


def verify_checkpoint(checkpoint: Path) -> bool:
    """Return True if the checkpoint is a valid zip file whose CRCs match."""
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            return parts.testzip() is None
    except (OSError, EOFError, NotImplementedError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error):
        return False


def find_checkpoint(folder: Path, stage: str) -> Path | None:
    """Return the checkpoint to resume from, or None; damaged checkpoints are reported and removed.

    If the last one is damaged, training resumes from the best epoch, an earlier state of the same run. If the best one
    is damaged, the best weights are lost and the stage starts again.
    """
    best, last = folder / BEST, folder / LAST
    for path in (best, last):
        remove_leftovers(path)
    damaged = [path for path in (best, last) if path.exists() and not verify_checkpoint(path)]
    for path in damaged:
        action = "restarting the stage" if best in damaged or not best.exists() else "resuming from the best epoch"
        print(f"{stage}: {path} is damaged; {action}", flush=True)
    for path in (best, last) if best in damaged else damaged:
        path.unlink(missing_ok=True)
    return next((path for path in (last, best) if path.exists()), None)
