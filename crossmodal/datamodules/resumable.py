"""What lets a training that was stopped in the middle of an epoch go on with the next batch."""

from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from crossmodal.datamodules.clip_dataset import EpochShuffle


class ResumableDataModule(LightningDataModule):
    """Keeps in checkpoints how many batches of which epoch were trained on, and goes on there.

    Lightning goes on with the right number of the batch, but with the first clips of the epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stopped_at: tuple[int, int] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Which epoch comes next, and how many of its batches are done."""
        if self.trainer is None:
            return {}
        loop = self.trainer.fit_loop
        epochs, batches = (one.current.state_dict() for one in (loop.epoch_progress, loop.epoch_loop.batch_progress))
        is_over = batches["processed"] >= self.trainer.num_training_batches  # of the epoch before the one that comes
        return {"epoch": epochs["processed"], "batches": 0 if is_over else batches["processed"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on there, in a fit from that checkpoint."""
        self._stopped_at = (state_dict["epoch"], state_dict["batches"]) if state_dict else None

    def gone_on_with(self, loader: DataLoader[Any]) -> DataLoader[Any]:
        """A loader of the training clips, which in a fit from a checkpoint begins where that was written."""
        if self._stopped_at and self.trainer and self.trainer.ckpt_path and isinstance(loader.sampler, EpochShuffle):
            loader.sampler.go_on(*self._stopped_at)
        return loader
