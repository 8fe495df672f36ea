"""What all stages share: metrics, the optimizer recipe, one step for every split."""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassRecall

from crossmodal.transforms import FeatureNormalization

Batch = dict[str, Any]
Losses = dict[str, Tensor]
UNLABELLED = -1


class UnweightedAverageRecall(MulticlassRecall):
    """The mean recall of the classes that occur.

    `MulticlassRecall` averaged over classes counts one that does not occur, but was predicted, as recall 0.

    Args:
        num_classes: The number of classes.
        ignore_index: The label of a clip that does not count.
    """

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        super().__init__(num_classes, average=None, ignore_index=ignore_index)

    def compute(self) -> Tensor:
        """A fraction, of shape ()."""
        found, missed = cast(Tensor, self.tp), cast(Tensor, self.fn)
        occurs = found + missed > 0
        return (found / (found + missed))[occurs].mean()


class BaseTask(LightningModule):
    """Base of the stages. A subclass makes `self.model` and fills `compute_losses`.

    Logged names are ``<stage>/<split>_<metric>``; UAR (mean
    per-class recall) chooses the model, WAR is accuracy, and for all three metrics higher is better.

    Args:
        num_classes: The number of classes.
        lr: Highest learning rate of the schedule.
        weight_decay: Of AdamW (Loshchilov & Hutter 2019).
        warmup: Share of the steps in which the learning rate rises; then it falls along a cosine (one-cycle, Smith &
            Topin 2018).
        label_smoothing: Of the cross-entropy, from 0 to 1.
    """

    stage: ClassVar[str]
    # Never in a checkpoint's hyper-parameters: files of an earlier stage that may be gone, and live modules.
    ignored_hyperparameters: ClassVar[tuple[str, ...]] = ()

    model: nn.Module

    def __init__(
        self,
        num_classes: int,
        lr: float,
        weight_decay: float,
        warmup: float,
        label_smoothing: float,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=list(self.ignored_hyperparameters))
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self.label_smoothing = label_smoothing
        metrics = MetricCollection(
            {
                "uar": UnweightedAverageRecall(num_classes, ignore_index=UNLABELLED),
                "war": MulticlassAccuracy(num_classes, average="micro", ignore_index=UNLABELLED),
                "f1": MulticlassF1Score(num_classes, average="macro", ignore_index=UNLABELLED),
            }
        )
        self.metrics = nn.ModuleDict(
            {f"{split}_metrics": metrics.clone(prefix=f"{self.stage}/{split}_") for split in ("train", "val", "test")}
        )

    @property
    def monitor(self) -> str:
        """The logged name that chooses the best checkpoint; higher is better."""
        return f"{self.stage}/val_uar"

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """The logits of a batch, (B, K), and its losses by name; ``loss`` is what is minimised."""
        raise NotImplementedError

    def normalization(self) -> FeatureNormalization | None:
        """The normalization that wants the training clips' statistics, if any."""
        return None

    def features(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """What that normalization sees of a batch, (B, features, frames), and the lengths in frames."""
        raise NotImplementedError

    def task_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy over the labelled clips; zero where there is none."""
        total = F.cross_entropy(
            logits, label, ignore_index=UNLABELLED, label_smoothing=self.label_smoothing, reduction="sum"
        )
        return total / (label != UNLABELLED).sum().clamp(min=1)

    def on_train_start(self) -> None:
        """Fit the normalization on the training clips, unless the weights brought theirs."""
        normalization = self.normalization()
        if normalization is None or bool(normalization.fitted):
            return
        was_training = self.training
        self.eval()
        with torch.no_grad():
            sums = [normalization.accumulate(*self.features(batch)) for batch in self._training_clips()]
        normalization.fit_from_sums(*torch.stack(sums).sum(dim=0))
        self.train(was_training)

    def _training_clips(self) -> Iterable[Batch]:
        """Every training clip once, on every process: so all ranks get the same statistics without talking."""
        loader: Iterable[Batch] = self.trainer.train_dataloader or ()
        if isinstance(loader, DataLoader):
            loader = DataLoader(loader.dataset, batch_size=loader.batch_size or 1, collate_fn=loader.collate_fn)
        return (self.transfer_batch_to_device(batch, self.device, 0) for batch in loader)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of training."""
        return self._shared_step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch of validation."""
        return self._shared_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch of test."""
        return self._shared_step(batch, "test")

    def _shared_step(self, batch: Batch, split: Literal["train", "val", "test"]) -> Tensor:
        logits, losses = self.compute_losses(batch)
        size = len(batch["label"])
        for name, value in losses.items():
            logged = f"{self.stage}/{split}_loss" if name == "loss" else f"{self.stage}/{name}"
            self.log(logged, value.detach(), on_step=False, on_epoch=True, batch_size=size, sync_dist=split != "train")
        metrics = cast(MetricCollection, self.metrics[f"{split}_metrics"])
        metrics.update(logits, batch["label"])
        for name, metric in metrics.items():
            self.log(name, metric, on_step=False, on_epoch=True, batch_size=size, prog_bar=name == self.monitor)
        return losses["loss"]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW and one cycle of the learning rate over all steps."""
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.lr, total_steps=int(self.trainer.estimated_stepping_batches), pct_start=self.warmup
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
