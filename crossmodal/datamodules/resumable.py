"""Base class of datamodules that resume training within an epoch."""

from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from crossmodal.datamodules.clip_dataset import EpochShuffle


class ResumableDataModule(LightningDataModule):
    """Datamodule that saves epoch and number of trained batches in checkpoints and resumes after them.

    Lightning alone resumes with the right batch index but with the first clips of the epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._resume_state: tuple[int, int] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the next epoch and the number of its batches that are done."""
        if self.trainer is None:
            return {}
        loop = self.trainer.fit_loop
        epochs, batches = (one.current.state_dict() for one in (loop.epoch_progress, loop.epoch_loop.batch_progress))
        epoch_is_done = batches["processed"] >= self.trainer.num_training_batches
        return {"epoch": epochs["processed"], "batches": 0 if epoch_is_done else batches["processed"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position for a fit from that checkpoint."""
        self._resume_state = (state_dict["epoch"], state_dict["batches"]) if state_dict else None

    def resume(self, loader: DataLoader[Any]) -> DataLoader[Any]:
        """Let a loader of the training clips start at the restored position, in a fit from a checkpoint."""
        if self._resume_state and self.trainer and self.trainer.ckpt_path and isinstance(loader.sampler, EpochShuffle):
            loader.sampler.resume_from(*self._resume_state)
        return loader
